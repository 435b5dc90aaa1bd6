"""What an operator can do about a reason: one entry for each stable code."""

from __future__ import annotations

ADVICE = {
    "above_ceiling": "Somebody must decide. If it may do this unasked, raise `ceiling` (for all, or by label).",
    "approval_expired": "Nobody decided within `hold_seconds`. The next event about this target begins a new run.",
    "asked_anew": "Nothing to do: somebody asked for the same again, after the switch that held this one back.",
    "attempts_exhausted": "Mend what the text names; the next event about this target begins a new run.",
    "backing_off": "Nothing to do: it is tried again later, and later still after each failure in a row.",
    "blast_radius": "Too much of the pool is down: look for a common cause. If it may go on, raise `blast_radius`.",
    "changed": "The world changed since the approval; somebody must decide on what is new.",
    "contended": "Nothing to do: it asks again in a moment.",
    "cooling_down": "Nothing to do: a run acted on this target a moment ago (`cool_down_seconds`).",
    "crashed": "The workers died without a word: look for time-outs and memory errors in the logs of the function.",
    "deferred_too_long": "It was put off for `defer_seconds` altogether; the other reasons say what stood in its way.",
    "destructive": "Somebody must decide: no setting lets an action that can lose data go ahead by itself.",
    "error": "A defect: the function's log has the run's id and the whole error. It is tried again.",
    "escalated": "Several runs did not heal the target: find out why. It is left alone until the window has passed.",
    "frozen": "A freeze of the policy: it goes on when that ends. `freezes` names it.",
    "invalid_settings": "Mend what the text names in the policy or the inventory, and publish it.",
    "joined": "Nothing to do: another run looks at the same target, after this event.",
    "left_to_others": "Somebody else has it in hand: see what they do. The finding stays open until it is well.",
    "needs_approval": "The mode is `approve`, or the toil type's settings want a person: somebody must decide.",
    "no_target": "If it is about something of yours, declare that in the inventory, as the sender calls it.",
    "not_in_inventory": "Declare the target in the inventory if Paydown may act on it.",
    "not_yet": "Nothing to do: it is looked at again when it is due.",
    "nothing_to_do": "Nothing to do: the target is as it should be.",
    "observe": "The mode became `observe` in the middle of a run: set it back, or let the run be refused in the end.",
    "opted_out": "Somebody labelled the target so that only people touch it: take the label away if that is over.",
    "other_healer": "Nothing to do: a native healer of the target has its time first (`healers`).",
    "outside_window": "Nothing to do: it goes on when a maintenance window opens (`windows`).",
    "over_budget": "As many runs as the policy allows have begun: find out why there are so many, or raise `budget`.",
    "overridden": "A person has undone what was done here: it is left alone for `override_seconds`.",
    "permanent": "Trying again is useless until what the text names is mended.",
    "place_lost": "Nothing to do: others were let in while nobody looked after it, and it is planned afresh.",
    "recurred": "The fault came back soon after it was healed: find the cause.",
    "rejected": "Somebody decided against it.",
    "remainder": "Nothing to do: what was approved is done, and the rest is being planned.",
    "retry": "Nothing to do unless it persists: it is tried again when it is due.",
    "stopped": "A switch is on: `paydown resume TOIL`, or `paydown resume` for everything.",
    "storm": "Many events at once have a common cause: look for it. It goes on when it has been calm (`storm`).",
    "suspended": "Faults keep coming back: find the cause, then `paydown resume TOIL`.",
    "taken_back": "Nothing to do: somebody had what it left half-done taken back (`paydown undo`).",
    "target_busy": "Nothing to do: it goes on when the other run has given the target back.",
    "target_unknown": "Declare the target that the text or the ticket names in the inventory.",
    "too_many_at_once": "Nothing to do: it goes on when another run has ended (`max_concurrent`, `budget.concurrent`).",
    "uninstalled": "The stack was being uninstalled (`paydown drain`).",
    "unknown_result": "A worker died while it did this, and doing it twice does harm: look at the target, then decide.",
    "unverified": "Look at the target: the actions are done, and the trouble is still there.",
    "waited_too_long": "It waited for `wait_seconds`: see what the text waits for, or raise it.",
}


def advice(code: str) -> str:
    """What to do about a reason; empty for a code that this version does not know."""
    return ADVICE.get(code, "")
