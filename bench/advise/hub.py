"""A model's config.json from the Hugging Face Hub, which is all that a prediction needs; soon, or not at all."""

from pathlib import Path

TIMEOUT = 5.0  # seconds for the Hub to answer at all; a download by itself tries again for half a minute


def kept(name: str) -> Path | None:
    """The config.json of a model on the Hub, if it was fetched before; the network is not asked."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # such as `./folder`
        return None
    return Path(found) if isinstance(found, str) else None


def fetch(name: str) -> None:
    """Have the config.json of a model on this machine.

    Args:
        name: of the model, such as `org/name`.

    Raises:
        ValueError: it cannot be had; the message says why.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    if kept(name) is not None:
        return
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=TIMEOUT)  # which asks once
        hf_hub_download(name, "config.json", etag_timeout=TIMEOUT)
        return
    except GatedRepoError:
        reason = "it is gated: ask for access on its page, then `hf auth login`"
    except RepositoryNotFoundError:
        reason = "there is no such model, or it is private"
    except EntryNotFoundError:
        reason = "the model has none"
    except Exception as error:  # of the network: of classes of the HTTP library that huggingface_hub happens to use
        first = (str(error).strip().splitlines() or ["no answer"])[0]
        reason = f"it cannot be reached ({first.rstrip('.')})"
    raise ValueError(reason)
