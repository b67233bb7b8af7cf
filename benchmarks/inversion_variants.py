"""What `wmark bench decoder-inversion` and `wmark bench ablation` compare."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ABLATION", "CALLS", "VARIANTS", "Variant"]

CALLS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 100, 200)
"""Numbers of iterations that are reported."""


@dataclass(frozen=True)
class Variant:
    """A method with its settings.

    Attributes:
        name: What tables call it.
        family: `paper`, `gradient` or `ours`.
        method: A name in :data:`~..inversion.recovery.DECODER_INVERSIONS`.
        options: Its options.
        iterations: Largest number of iterations.
        tuned: Whether the model's left inverse stands where the encoder stands, but for the start of iterations.
        dtype: Precision of the model.
    """

    name: str
    family: str
    method: str
    options: dict = field(default_factory=dict)
    iterations: int = 50
    tuned: bool = False
    dtype: str = "fp32"

    @property
    def curve(self) -> str:
        """What figures call it: scheduled variants that differ in their number of iterations only are one curve."""
        return self.name.replace(f" in {self.iterations}", "")

    @property
    def scheduled(self) -> bool:
        """Whether its steps depend on how many there will be: such a run serves one number of iterations only."""
        return self.method in ("adam", "gradient") and self.options.get("schedule", True)


def scheduled(family: str, method: str, rate: float, iterations: int, dtype: str = "fp32") -> Variant:
    """Gradient-free or gradient-based Adam with the paper's schedule."""
    label, suffix = "Adam" if method == "adam" else method, "" if dtype == "fp32" else f", {dtype}"
    name = f"{label}, {rate:g} in {iterations}{suffix}"
    return Variant(name, family, method, {"learning_rate": rate}, iterations, dtype=dtype)


KM = {"rho": 0.5, "alpha": 0.9}
VARIANTS = (
    Variant("forward, 0.5", "paper", "forward", {"rho": 0.5}, 20),
    Variant("KM", "paper", "km", KM),
    scheduled("paper", "adam", 0.1, 20),
    scheduled("gradient", "gradient", 0.03, 20),
    Variant("Anderson", "ours", "anderson", {}, 20),
    Variant("tuned", "ours", "encoder", {}, 0, tuned=True),
    Variant("tuned, Anderson", "ours", "anderson", {}, 20, tuned=True),
    Variant("KM, bf16", "paper", "km", KM, 20, dtype="bf16"),
    Variant("Anderson, bf16", "ours", "anderson", {}, 20, dtype="bf16"),
    Variant("tuned, Anderson, bf16", "ours", "anderson", {}, 20, tuned=True, dtype="bf16"),
)


def ablation(dtype: str) -> tuple[Variant, ...]:
    """Every method at every number of iterations and learning rate, in one precision."""
    suffix = "" if dtype == "fp32" else f", {dtype}"
    plain = (
        ("forward, 1", "paper", "forward", {"rho": 1.0}, 200),
        ("forward, 0.5", "paper", "forward", {"rho": 0.5}, 200),
        ("KM", "paper", "km", KM, 200),
        ("Adam, 0.1 fixed", "paper", "adam", {"learning_rate": 0.1, "schedule": False}, 100),
        ("Adam, 0.01 fixed", "paper", "adam", {"learning_rate": 0.01, "schedule": False}, 100),
        ("gradient, 0.03 fixed", "gradient", "gradient", {"learning_rate": 0.03, "schedule": False}, 50),
        ("Anderson", "ours", "anderson", {}, 50),
        ("Anderson in T", "ours", "anderson", {"in_image": False}, 50),
    )
    return (
        *(Variant(f"{name}{suffix}", *rest, dtype=dtype) for name, *rest in plain),
        Variant(f"tuned, Anderson{suffix}", "ours", "anderson", {}, 50, tuned=True, dtype=dtype),
        *(scheduled("paper", "adam", rate, k, dtype) for rate in (0.1, 0.03) for k in CALLS),
        *(scheduled("gradient", "gradient", rate, k, dtype) for rate in (0.1, 0.03) for k in CALLS if k <= 50),
    )


ABLATION = (
    *ablation("fp32"),
    *ablation("bf16"),
    Variant("tuned, Anderson, fp16", "ours", "anderson", {}, 20, tuned=True, dtype="fp16"),
)
"""The ablation of the paper (Hong et al., NeurIPS 2024) and beyond it; twenty minutes an image on two cores."""
