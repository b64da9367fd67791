from tfdgm.tasks.check import Check


class Report:
    """The checks of one model; `str(report)` is a table.

    Args:
      checks: list of `Check`.
      title: first line of the table.
    """

    def __init__(self, checks, title="verify"):
        self.checks, self.title = list(checks), title

    @property
    def passed(self):
        """Whether no check failed and at least one was done."""
        done = [check.passed for check in self.checks if not check.skipped]
        return bool(done) and all(done)

    def __getitem__(self, name):
        """The check of that name."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"No check {name!r}. Known: {[check.name for check in self.checks]}")

    def __str__(self):
        table = [("check", "measured", "tolerance", "", ""), *map(_row, self.checks)]
        widths = [max(len(row[i]) for row in table) for i in range(4)]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:<{widths[3]}}  {row[4]}".rstrip()
            for row in table
        ]
        verdicts = [check.passed for check in self.checks]
        counts = f"{verdicts.count(True)} passed, {verdicts.count(False)} failed, {verdicts.count(None)} skipped"
        return "\n".join([self.title, *lines, f"{'PASS' if self.passed else 'FAIL'}: {counts}"])

    __repr__ = __str__


def _row(check: Check):
    if check.skipped:
        return check.name, "-", "-", "skipped", check.detail
    return check.name, f"{check.value:.2g}", f"{check.tolerance:.2g}", "PASS" if check.passed else "FAIL", check.detail
