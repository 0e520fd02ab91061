"""Builds the OpenAPI 3.1 document of the API from its operations and the records on the wire.

Descriptions of fields are those of the records' docstrings, so that each is written once.
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from taskclf_dagster.errors import RequestProblem
from taskclf_dagster.web.api.examples import ANSWER_EXAMPLES, FORM_EXAMPLES, PROBLEM_EXAMPLE
from taskclf_dagster.web.api.operations import Operation
from taskclf_dagster.web.api.reading import JSON
from taskclf_dagster.web.problems import KINDS, MEDIA_TYPE, ProblemDetails
from taskclf_dagster.web.site_paths import API

VERSION = "1"
"""The version of the API. A field may be added to an answer at any time; whatever else changes makes a new version."""


ALWAYS: tuple[RequestProblem, ...] = (
    "unreadable_request",
    "not_signed_in",
    "forbidden",
    "not_acceptable",
    "too_many",
    "unavailable",
    "internal",
)
"""Problems that every operation can have, some of them found by the guard in front of the API."""


OF_CHANGES: tuple[RequestProblem, ...] = ("too_large", "unsupported_media_type", "invalid")


_Names = Mapping[Any, dict[str, Any]]
"""The schema that stands for a record in the document, by the record and the mode of its schema."""


_REF = "#/components/schemas/{model}"


_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "example": "2026-02-04_060000_1a2b3c4d",
}


_HOME = {
    "name": "home",
    "in": "path",
    "required": True,
    "description": "Name of the home; `listHomes` has them all.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "example": "anna",
}


_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the configuration that the change was made for.",
    "schema": {"type": "string", "minLength": 1},
    "example": '"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',
}


_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "TASKCLF_DAGSTER_TOKEN, with which the server was started."},
    "pageToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Taskclf-Token",
        "description": "The token of the page /retrain, with its cookie. A server without TASKCLF_DAGSTER_TOKEN takes no other.",
    },
}


_FIELD = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def build_document(operations: Sequence[Operation[Any]]) -> dict[str, object]:
    """Returns the document of these operations."""
    records = [_schema_of(operation.answer, "serialization") for operation in operations if operation.answer is not None]
    forms = [_schema_of(operation.form, "validation") for operation in operations if operation.form is not None]
    models = {*records, *forms, _schema_of(ProblemDetails, "validation")}
    ordered = sorted(models, key=lambda pair: pair[0].__name__)
    names, definitions = models_json_schema(ordered, by_alias=True, ref_template=_REF)
    schemas = _add_descriptions(definitions["$defs"], _all_models(model for model, _ in ordered))
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        paths.setdefault(API + operation.path, {})[operation.method.lower()] = _describe(operation, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "taskclf-dagster",
            "version": VERSION,
            "summary": "Retrains of taskclf's classifier: state, history, configuration, and what launches or changes something.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "responses": _problem_responses(), "securitySchemes": _SCHEMES},
    }


def _schema_of(model: type[BaseModel], mode: JsonSchemaMode) -> tuple[type[BaseModel], JsonSchemaMode]:
    return model, mode


def _describe(operation: Operation[Any], names: _Names) -> dict[str, object]:
    described: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *([_HOME] if "{home}" in operation.path else []),
            *([_ID] if "{id}" in operation.path else []),
            *_describe_query(operation),
            *([_IF_MATCH] if operation.needs_match else []),
        ],
        "responses": {**_describe_success(operation, names), **_describe_problems(operation)},
        "security": [{"bearer": []}, {"pageToken": []}] if operation.changes else [{}, {"bearer": []}],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.form is not None:
        content: dict[str, object] = {"schema": names[operation.form, "validation"]}
        if operation.form in FORM_EXAMPLES:
            content["examples"] = FORM_EXAMPLES[operation.form]
        described["requestBody"] = {"required": True, "content": {JSON: content}}
    return described


def _describe_query(operation: Operation[Any]) -> list[dict[str, object]]:
    if operation.query is None:
        return []
    found = operation.query.model_json_schema(by_alias=True)["properties"]
    parameters = []
    for name, schema in found.items():
        kept = {key: value for key, value in schema.items() if key not in ("title", "description", "examples")}
        variants = kept.pop("anyOf", None)
        if variants is not None:  # the absent value has no place in a query
            kept = next(variant for variant in variants if variant.get("type") != "null")
        parameter = {"name": name, "in": "query", "required": False, "description": schema["description"], "schema": kept}
        parameters.append({**parameter, **({"example": schema["examples"][0]} if "examples" in schema else {})})
    return parameters


def _describe_success(operation: Operation[Any], names: _Names) -> dict[str, dict[str, object]]:
    schema: dict[str, object] = {"type": "object"} if operation.answer is None else names[operation.answer, "serialization"]
    content = {"schema": schema}
    if operation.answer in ANSWER_EXAMPLES:
        content["example"] = ANSWER_EXAMPLES[operation.answer].model_dump(mode="json", by_alias=True)
    headers = {
        name: {"required": True, "description": description, "schema": {"type": "string"}}
        for name, description in operation.answer_headers.items()
    }
    response: dict[str, object] = {"description": operation.status.phrase, "content": {JSON: content}}
    return {str(int(operation.status)): {**response, **({"headers": headers} if headers else {})}}


def _describe_problems(operation: Operation[Any]) -> dict[str, object]:
    """Returns the problems of an operation by HTTP status."""
    kinds = (*ALWAYS, *(OF_CHANGES if operation.changes else ()), *operation.problems)
    return {str(KINDS[kind].status): {"$ref": f"#/components/responses/{_name_of(KINDS[kind].status)}"} for kind in kinds}


def _problem_responses() -> dict[str, object]:
    """Returns one response for each status that a problem can have."""
    titles: dict[int, list[str]] = {}
    for found in KINDS.values():
        titles.setdefault(found.status, []).append(found.title)
    schema = {"$ref": _REF.format(model=ProblemDetails.__name__)}
    return {
        _name_of(status): {
            "description": "; ".join(texts),
            "content": {MEDIA_TYPE: {"schema": schema, **({"example": PROBLEM_EXAMPLE} if status == PROBLEM_EXAMPLE["status"] else {})}},
        }
        for status, texts in sorted(titles.items())
    }


def _name_of(status: int) -> str:
    return f"Problem{status}"


def _all_models(models: Iterable[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Returns models and every model within their fields, by name."""
    found: dict[str, type[BaseModel]] = {}
    waiting = list(models)
    while waiting:
        model = waiting.pop()
        if model.__name__ in found:
            continue
        found[model.__name__] = model
        for field in model.model_fields.values():
            waiting += _models_in(field.annotation)
    return found


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


def _add_descriptions(definitions: dict[str, Any], models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Gives each field the description that its record's docstring has, and each record the first lines of it."""
    for name, schema in definitions.items():
        model = models.get(name)
        if model is None:
            continue
        schema["description"] = inspect.getdoc(model).partition("\n\nAttributes:")[0]  # type: ignore[union-attr]
        words = _field_words(model)
        for field, about in model.model_fields.items():
            shown = schema.get("properties", {}).get(about.alias or field)
            if shown is None:
                continue
            shown.pop("title", None)
            if field in words and "description" not in shown:
                shown["description"] = words[field]
    return definitions


def _field_words(model: type[BaseModel]) -> dict[str, str]:
    """Returns what docstrings say about the fields of a record and of its bases."""
    words: dict[str, str] = {}
    for base in reversed(model.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        for name, found in _FIELD.findall(text.partition("Attributes:")[2]):
            words[name] = re.sub(r"\bNone\b", "null", re.sub(r"\bTrue\b", "true", " ".join(found.split())))
    return words
