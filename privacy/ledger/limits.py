"""How much a home's records may cost over their life: the smaller of ledger and `site.toml`.

The ledger's limits are in its first entry and never change. The steward's `[policy]` may be
stricter, and may change: the smaller epsilon at the smaller delta binds. A plan must fit both,
each by its own Rényi order, so a policy that is loosened again takes nothing from the ledger's
guarantee, and one that stands from the first answer on is a guarantee itself.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that everything together may cost one unit.

    Attributes:
      epsilon: at `delta`.
      delta: failure probability.
      epsilon_set_by: "ledger" or "site.toml".
      delta_set_by: likewise.
    """

    epsilon: float
    delta: float
    epsilon_set_by: str
    delta_set_by: str

    def within(self, policy: Limits | None) -> Limits:
        """Returns the smaller of each of the two; where they are equal, the ledger's are named."""
        if policy is None:
            return self
        epsilon, delta = policy.epsilon < self.epsilon, policy.delta < self.delta
        return Limits(
            epsilon=policy.epsilon if epsilon else self.epsilon,
            delta=policy.delta if delta else self.delta,
            epsilon_set_by=policy.epsilon_set_by if epsilon else self.epsilon_set_by,
            delta_set_by=policy.delta_set_by if delta else self.delta_set_by,
        )

    @property
    def in_words(self) -> str:
        """The two numbers, and which file sets them."""
        words = {"ledger": "the ledger", "site.toml": "[policy] in site.toml"}
        epsilon, delta = words[self.epsilon_set_by], words[self.delta_set_by]
        if epsilon == delta:
            return f"epsilon {self.epsilon:g} at delta {self.delta:g}, set by {epsilon}"
        return (
            f"epsilon {self.epsilon:g} (set by {epsilon}) at delta {self.delta:g} (set by {delta})"
        )
