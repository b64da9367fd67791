"""TFDS builders of sets that TensorFlow Datasets lacks. Importing one registers it with TFDS."""
