"""What may be collected, in which form, for which purpose, and who may see it: one declaration and its readers."""

from shared.policy.catalogue import Catalogue, CatalogueError, load_catalogue
from shared.policy.invalid import InvalidValue
from shared.policy.normalise import canonical

__all__ = ["Catalogue", "CatalogueError", "InvalidValue", "canonical", "load_catalogue"]
