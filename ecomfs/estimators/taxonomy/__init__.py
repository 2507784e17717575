"""Labels of two levels, such as ``Electronics > Phones``: first the parent, then its children.

tree         whole labels as parents and children; combines the probabilities of both levels
pipeline     both levels as one pipeline
report       the profile, and the explanation of one row
classifier   TaxonomyClassifier: two levels of FewShotClassifier, one engine
"""

from ecomfs.estimators.taxonomy.classifier import TaxonomyClassifier
from ecomfs.estimators.taxonomy.report import TaxonomyProfile
from ecomfs.estimators.taxonomy.tree import group_by_parent

__all__ = ["TaxonomyClassifier", "TaxonomyProfile", "group_by_parent"]
