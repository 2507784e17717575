"""A DataFrame to the same with predictions beside its columns, or to its metrics: ``df.ecomfs``."""

from ecomfs.frames.accessor import EcomfsAccessor

__all__ = ["EcomfsAccessor"]
