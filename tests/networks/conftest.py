def pytest_generate_tests(metafunc):
    if "config_name" in metafunc.fixturenames:
        metafunc.parametrize("config_name", metafunc.cls.configs)
