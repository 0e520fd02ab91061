"""Operations that show one decision and one model."""

from taskclf_dagster.errors import DecisionNotFoundError, ReceiptVersionError, RequestRefusedError
from taskclf_dagster.status.details import describe_decision, read_model
from taskclf_dagster.web.api.operations import Answer, Asked, Service


def show_decision(service: Service, asked: Asked) -> Answer:
    """Answers one decision."""
    try:
        decision = service.receipts.load(service.home, asked.path["id"])
    except DecisionNotFoundError as error:
        raise RequestRefusedError(
            "not_found", "This home has no decision with this id that can be read; the history lists them."
        ) from error
    except ReceiptVersionError as error:
        raise RequestRefusedError("not_found", str(error)) from error
    return Answer(describe_decision(service.home, decision, service.receipts, reports=service.paths.reports))


def show_model(service: Service, asked: Asked) -> Answer:
    """Answers one model."""
    model = read_model(service.home, asked.path["id"], service.receipts)
    if model is None:
        raise RequestRefusedError("not_found", "This home has no model with this id.")
    return Answer(model)
