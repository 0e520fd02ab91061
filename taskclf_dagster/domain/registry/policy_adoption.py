"""The part of a history record that adopts a policy of another program, or its removal. Nothing here writes; `recovery` records it."""

from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD
from taskclf_dagster.domain.registry.policy_check import PolicyCheck
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.shown_text import rounded


def policy_of_adoption(policy: PolicyCheck) -> dict[str, object]:
    """Returns the fields of a record that adopts a foreign policy, or its removal; empty if the policy is the recorded one."""
    if policy.status == "removed":
        return {"policy_removed": True}
    return {"policy": policy.in_force} if policy.status == "foreign" else {}


def describe_policy_change(state: RegistryState) -> str:
    """Returns what another program did to the policy, for the history."""
    name, policy = state.home.inference_policy.name, state.policy
    if policy.status == "foreign":
        source = (policy.in_force or {}).get("source")
        return f"another program wrote {name}" + (f" (source {source})" if isinstance(source, str) else "")
    done = "put taskclf's starter template in place of" if state.policy_file.is_template else "removed"
    before = next((recorded for recorded in state.history.policy_states if recorded is not None), {})
    lost = f"which named {before.get('model_dir')} with a reject threshold of {rounded(before.get('reject_threshold'))}"
    return f"another program {done} {name}, {lost}; without it taskclf applies {DEFAULT_REJECT_THRESHOLD:g}"
