"""Labels of two levels, such as ``Electronics > Phones``: first the parent, then its children.

tree         whole labels as parents and children
rows         both levels, for the rows of tables and requests
profile      what was fitted, in a file
classifier   TaxonomyClassifier: two levels of FewShotClassifier, one engine
"""

from ecomfs.estimators.taxonomy.classifier import TaxonomyClassifier
from ecomfs.estimators.taxonomy.profile import TaxonomyProfile
from ecomfs.estimators.taxonomy.tree import grow

__all__ = ["TaxonomyClassifier", "TaxonomyProfile", "grow"]
