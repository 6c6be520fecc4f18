"""The errors that a user may meet; each is one line that names the thing, the value, the remedy."""

from __future__ import annotations


class GearshiftError(Exception):
    """Base of every error that gearshift raises on purpose."""


class ArtifactError(GearshiftError):
    """A model folder is missing, damaged, hostile or of another version."""


class CheckpointError(GearshiftError):
    """A checkpoint or its recipe cannot be read as the model that it claims to be."""


class InputError(GearshiftError, ValueError):
    """A request that cannot be run: image, task or option."""


class BackendError(GearshiftError):
    """A backend is unknown, not installed, or cannot run this program."""
