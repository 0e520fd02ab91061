"""Operations on the configuration: the keys that can be changed, and changing them in the settings file of the home."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import GetJsonSchemaHandler, JsonValue, RootModel
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from taskclf_dagster.config.settings import (
    ComparisonSettings,
    EvaluationSettings,
    GateThresholds,
    PromotionSettings,
    ScheduleSettings,
    SchedulingSettings,
)
from taskclf_dagster.domain.scheduling.home_settings import EDITABLE, HomeSettings, change_home_settings, read_home_settings
from taskclf_dagster.domain.scheduling.settings_changes import Via, read_changes
from taskclf_dagster.domain.storage.records import MAX_SAFE_INTEGER
from taskclf_dagster.errors import (
    InvalidField,
    RegistryBusyError,
    RequestRefusedError,
    SettingsError,
    StaleSettingsError,
)
from taskclf_dagster.status.records import WireView
from taskclf_dagster.web.api.operations import Answer, Asked, Service
from taskclf_dagster.web.api.reading import make_pointer, refuse_fields

_NAMES: Mapping[str, str] = {"min_new_labels": "minLabelsRequired"}
"""Names on the wire that do not follow from those of the file."""


ON_THE_WIRE: Mapping[tuple[str, ...], str] = {tuple(_NAMES.get(part, to_camel(part)) for part in key.split(".")): key for key in EDITABLE}
"""The keys by their names in camelCase, the inner ones within an object: a change may use these names, or else those of the file."""


SHOWN_CHANGES = 20


class SettingView(WireView):
    """One key of the configuration.

    Attributes:
        value: the value in effect.
        source: where that is set: the name of a file, or `environment NAME`.
        default: the shipped value.
        overridden_by: what sets the key above the home, so that a change here has no effect; None if nothing does.
        locked: why the key cannot be changed in this home; None if it can.
        effect: time from which a changed value counts, for a person.
    """

    value: JsonValue
    source: str
    default: JsonValue
    overridden_by: str | None
    locked: str | None
    effect: str


class SettingChangeView(WireView):
    """One change of one key.

    Attributes:
        at: time of the change; of an edit of the file, when it was found.
        who: the person, as far as known.
        via: api, command line, or file for an editor.
        key: the key.
        before: value that the file set; None if it set none.
        after: likewise.
    """

    at: datetime
    who: str | None
    via: Via
    key: str
    before: JsonValue
    after: JsonValue


class ConfigView(WireView):
    """The configuration, as far as it can be changed here.

    Attributes:
        values: by key, as configs/retrain.yaml names and explains them; inner keys with dots.
        editable: the keys in order.
        file: the settings file of the home, to which changes are written.
        changes: the last changes, the newest last.
        effective: of the keys that this request changed, when the new value counts; None where nothing was asked to change.
    """

    values: dict[str, SettingView]
    editable: list[str]
    file: str
    changes: list[SettingChangeView]
    effective: dict[str, str] | None = None


class ConfigForm(RootModel[dict[str, object]]):
    """Values by key; null removes a key from the file of the home, so that the shipped value holds. What is not named stays."""

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Returns the schema of a change in either notation, with the bounds of the settings."""
        keys = dict(_schemas())
        nested: dict[str, Any] = {}
        for path, key in ON_THE_WIRE.items():
            if len(path) == 1:
                nested[path[0]] = keys[key]
            else:
                within = nested.setdefault(path[0], {"type": "object", "properties": {}, "additionalProperties": False})
                within["properties"][path[1]] = keys[key]
        notations = {"in camelCase, as objects": nested, "as configs/retrain.yaml has them, inner keys with dots": keys}
        return {
            "anyOf": [
                {"type": "object", "description": f"Keys {text}.", "properties": properties, "additionalProperties": False}
                for text, properties in notations.items()
            ]
        }


def _schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the JSON Schema of each key of EDITABLE."""
    groups = (SchedulingSettings, EvaluationSettings, ComparisonSettings, PromotionSettings)
    flat = {name: schema for group in groups for name, schema in group.model_json_schema()["properties"].items()}
    inner = {"schedule": ScheduleSettings.model_json_schema()["properties"], "gates": GateThresholds.model_json_schema()["properties"]}
    formats = {"schedule.cron": "cron", "schedule.timezone": "iana-time-zone"}
    for key in EDITABLE:
        name, _, part = key.partition(".")
        schema = {item: value for item, value in (inner[name][part] if part else flat[name]).items() if item != "title"}
        variants = [variant for variant in schema.get("anyOf", [schema]) if variant.get("type") != "null"]
        if key in formats:
            variants = [{"type": "string", "minLength": 1, "format": formats[key]}]
        yield key, {"anyOf": [*variants, {"type": "null"}]}


def show_config(service: Service, asked: Asked) -> Answer:
    """Answers the configuration, with the ETag of the settings file of the home."""
    return _answer(service, read_home_settings(service.home))


def change_config(service: Service, asked: Asked) -> Answer:
    """Changes the settings file of the home, if it is the one that the client has seen, and loads the schedules again if they changed."""
    wanted, places = _read_keys(asked.form_of(ConfigForm).root)
    etag, before = _etag_of(asked), read_home_settings(service.home)
    try:
        after = change_home_settings(service.home, wanted, etag=etag, who=asked.user, via="api", at=datetime.now(UTC))
    except StaleSettingsError as error:
        raise RequestRefusedError("changed_meanwhile", str(error), headers={"ETag": f'"{error.etag}"'}) from error
    except RegistryBusyError as error:
        raise RequestRefusedError("unavailable", str(error)) from error
    except SettingsError as error:  # the configuration was valid before
        raise _refuse_settings(error, places) from error
    changed = [key for key in wanted if before.settings[key].home_value != after.settings[key].home_value]
    effective = {key: after.settings[key].takes_effect for key in changed}
    loaded_late = [key for key in changed if after.settings[key].effect == "next_load" and after.settings[key].overridden_by is None]
    if loaded_late:
        service.reloader.ask()
        effective |= dict.fromkeys(loaded_late, service.backend.cron_effect)
    return _answer(service, after, effective)


def _answer(service: Service, settings: HomeSettings, effective: dict[str, str] | None = None) -> Answer:
    views = {
        key: SettingView.model_validate(
            {
                "value": setting.value,
                "source": setting.source,
                "default": setting.default,
                "overridden_by": setting.overridden_by,
                "locked": setting.locked,
                "effect": setting.takes_effect,
            }
        )
        for key, setting in settings.settings.items()
    }
    changes = [SettingChangeView.model_validate(change.model_dump()) for change in read_changes(service.home)[-SHOWN_CHANGES:]]
    view = ConfigView(values=views, editable=list(EDITABLE), file=str(settings.path), changes=changes, effective=effective)
    return Answer(view, {"ETag": f'"{settings.etag}"'})


def _etag_of(asked: Asked) -> str | None:
    """Returns the ETag that a change was made for; None if the client does not care (`*`).

    Raises:
        RequestRefusedError: there is no header If-Match (428).
    """
    header = asked.headers.get("if-match", "").strip()
    if not header:
        raise RequestRefusedError(
            "precondition_required",
            "Send the ETag of the configuration that you have seen in the header If-Match, so that nobody's change is lost.",
        )
    return None if header == "*" else header.removeprefix('"').removesuffix('"')


def _read_keys(given: Mapping[str, object]) -> tuple[dict[str, object], dict[str, str]]:
    """Returns the values by key of the file, and where each stands in the body.

    Raises:
        RequestRefusedError: a key cannot be changed, or a value is no single one (422).
    """
    wanted: dict[str, object] = {}
    places: dict[str, str] = {}
    invalid = []
    for key, place, value in _list_keys(given):
        if key is None:
            invalid.append(InvalidField(place, "is none of the keys that can be changed here, which GET names"))
        elif isinstance(value, dict | list) or (isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER):
            invalid.append(InvalidField(place, "must be a single value, and a number of usual size"))
        else:
            wanted[key], places[key] = value, place
    if invalid:
        raise refuse_fields(invalid)
    return wanted, places


def _list_keys(given: Mapping[str, object]) -> Iterator[tuple[str | None, str, object]]:
    """Yields each key of the file (None if it is not one), where it stands in the body, and its value."""
    of_the_file = any("_" in name or "." in name for name in given)
    for name, value in given.items():
        if of_the_file:
            yield name if name in EDITABLE else None, make_pointer(name), value
        elif isinstance(value, dict) and any(path[0] == name and len(path) > 1 for path in ON_THE_WIRE):
            for part, item in value.items():
                yield ON_THE_WIRE.get((name, part)), make_pointer(name, part), item
        else:
            yield ON_THE_WIRE.get((name,)), make_pointer(name), value


def _refuse_settings(error: SettingsError, places: Mapping[str, str]) -> RequestRefusedError:
    """Returns the problem of a change that is not valid: at the keys that it is about, else at the whole body."""
    if any(setting.kind == "link" for setting in error.invalid):
        return RequestRefusedError("not_possible", str(error))
    fields = [
        InvalidField(place, setting.message)
        for setting in error.invalid
        for key, place in places.items()
        if setting.key and (key == setting.key or key.startswith(f"{setting.key}."))
    ]
    return refuse_fields(fields or [InvalidField("#", f"is not valid: {setting}") for setting in error.invalid])
