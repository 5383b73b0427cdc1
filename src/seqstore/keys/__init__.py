"""Keys of encrypted stores: where the root key comes from, and the area where all others lie wrapped.

`docs/explanation/keys.md` explains them.
"""

from seqstore.keys.keychain import ROOT, Keychain, NewKey
from seqstore.keys.providers import EnvironmentKey, FileKey, KeyProvider, PassphraseKey, Recipe
from seqstore.keys.root import DEFAULT_SLOTS
from seqstore.keys.secret import Entropy, Secret
from seqstore.keys.table import KeyEntry, KeyKind

__all__ = [
    "DEFAULT_SLOTS",
    "ROOT",
    "Entropy",
    "EnvironmentKey",
    "FileKey",
    "KeyEntry",
    "KeyKind",
    "KeyProvider",
    "Keychain",
    "NewKey",
    "PassphraseKey",
    "Recipe",
    "Secret",
]
