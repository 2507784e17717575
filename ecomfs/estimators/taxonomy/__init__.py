"""Labels of two levels, such as ``Electronics > Phones``: first the parent, then its children.

tree         whole labels as parents and children, and the probabilities of both levels as one
rows         both levels, for the rows of tables and requests
report       what was fitted, in a file, and what led to the label of one row
classifier   TaxonomyClassifier: two levels of FewShotClassifier, one engine
"""

from ecomfs.estimators.taxonomy.classifier import TaxonomyClassifier
from ecomfs.estimators.taxonomy.report import TaxonomyProfile
from ecomfs.estimators.taxonomy.tree import grow

__all__ = ["TaxonomyClassifier", "TaxonomyProfile", "grow"]
