"""Addresses of mailboxes, by which accounts are named."""

from email_validator import EmailNotValidError, validate_email

from retrace.errors import InputError


def normalised(email: str) -> str:
    """The address as it is stored and compared: ASCII, in small letters.

    Raises InputError for one that is none; whether the mailbox exists is not asked.
    """
    try:
        found = validate_email(email, allow_smtputf8=False, check_deliverability=False)
    except EmailNotValidError as error:
        why = str(error).rstrip(".")
        raise InputError(f"email: {why}: send the address of a mailbox") from None
    return (found.ascii_email or found.normalized).lower()


def spelt(email: str) -> str:
    """`normalised`, or "", which no account has: whoever logs in is not told what is wrong."""
    try:
        return normalised(email)
    except InputError:
        return ""
