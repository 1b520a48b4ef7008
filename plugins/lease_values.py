"""What a lease says, in other parts' options: its values stand there by their names in braces."""

from __future__ import annotations

from collections.abc import Mapping

from keuos_hil.errors import InfraError, UsageError
from keuos_hil.hookspecs import PartContext


def fill(text: str, values: Mapping[str, str], where: str) -> str:
    """`text` with the lease's values in place of their names in braces; a brace itself is doubled.

    Args:
        where: what error messages call the option.

    Raises:
        InfraError: there is no value of that name, or it is no name.
    """
    try:
        return text.format_map(values)
    except KeyError as error:
        known = ", ".join(f"{{{name}}}" for name in values) or "no values"
        raise InfraError(f"{where} = {text!r}: the lease gives no {{{error.args[0]}}}; it gives {known}") from None
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise InfraError(f"{where} = {text!r}: {error}; a brace itself is written twice, {{{{ or }}}}") from None


def require_values(text: str, context: PartContext, key: str) -> None:
    """Raise UsageError if an option can't be filled with what the lease will say, where that is known by now."""
    if context.lease_values is not None:
        try:
            fill(text, dict.fromkeys(context.lease_values, ""), f"{context.where}: {key}")
        except InfraError as error:
            raise UsageError(str(error)) from None
