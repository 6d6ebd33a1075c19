"""The sweep: does anything of a person remain anywhere? Proof of an erasure, and of sealing, from the stores' own bytes."""

from deploy.local.sweep.report import Hit, Report
from deploy.local.sweep.run import Places, sweep

__all__ = ["Hit", "Places", "Report", "sweep"]
