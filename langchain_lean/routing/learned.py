"""Policies fitted to answers that were judged, and thresholds that keep a promise."""

from langchain_lean.routing.learning.calibrated import (
    CalibratedPolicy,
    Calibration,
    CalibrationError,
)
from langchain_lean.routing.learning.calibrating import calibrate
from langchain_lean.routing.learning.curve import CurvePoint, curve, curve_points
from langchain_lean.routing.learning.logged import logged_outcomes
from langchain_lean.routing.learning.outcomes import Outcome
from langchain_lean.routing.learning.policy import LearnedPolicy

__all__ = [
    "CalibratedPolicy",
    "Calibration",
    "CalibrationError",
    "CurvePoint",
    "LearnedPolicy",
    "Outcome",
    "calibrate",
    "curve",
    "curve_points",
    "logged_outcomes",
]
