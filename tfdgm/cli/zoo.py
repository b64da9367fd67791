"""List the pretrained models, or show all that is known of one.

Usage: tfdgm zoo [NAME]

Without NAME a table: how large each entry is, its negative log-likelihood on the test split (lower is better) with the standard
error, and the published figure beside it. With NAME its card: data and its hash, training, machine, figures, and the command
that repeats it. Use an entry as MODEL in any command, or in Python: tfdgm.load(NAME).

Examples:
  tfdgm zoo
  tfdgm zoo maf_digits
"""

import warnings

from absl import flags

from tfdgm.cli.usage import exactly
from tfdgm.printable import printable
from tfdgm.zoo import ZooError, cards, entries

FLAGS = flags.FlagValues()


def run(arguments):
    if arguments:
        print(cards.Card.of(exactly(arguments, "NAME")).text())
        return
    names, found = entries.names(), []
    for name in names:
        try:
            found.append(cards.Card.of(name))
        except ZooError as error:
            warnings.warn(str(error), stacklevel=2)
    if found:
        print(cards.table(found))
    untrained = [name for name in entries.recipe_names() if name not in names]
    if untrained:
        print(printable(f"{chr(10) if names else ''}Recipes not trained yet: {', '.join(untrained)}"))
    if not names and not untrained:
        print("The zoo is empty. Folders searched:", *map(str, entries.folders()))
