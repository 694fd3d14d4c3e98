"""The settings for proxies and certificates in the environment. Every engine follows it in the same way."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from prebuilds.errors import ConfigurationError

PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
"""Upper or lower case; the standard library reads them, and on macOS and Windows the settings of the system."""

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_for(scheme: str, host: str, port: int | None) -> str | None:
    """The URL of the proxy for requests to an origin; None to connect directly.

    A proxy is never used for this machine: it would look for the server on the proxy's machine.

    Raises:
        ConfigurationError: the environment names a proxy that cannot be one.
    """
    if is_loopback(host):
        return None
    proxies = getproxies()
    proxy = (proxies.get(scheme) or proxies.get("all") or "").strip()
    if not proxy or proxy_bypass(f"{host}:{port}" if port else host):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not _can_be_proxy(proxy):
        raise unusable_proxy(proxy, "expected a URL such as http://proxy:3128")
    return proxy


class Proxies:
    """The proxy for each origin, as the environment names it when the first request is sent there."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int | None], str | None] = {}

    def get(self, scheme: str, host: str, port: int | None) -> str | None:
        """The URL of the proxy for requests to an origin; None to connect directly.

        Raises:
            ConfigurationError: the environment names a proxy that cannot be one.
        """
        origin = scheme, host, port
        try:
            return self._known[origin]
        except KeyError:
            proxy = proxy_for(scheme, host, port)
        if len(self._known) >= _MAX_ORIGINS:
            self._known.clear()
        self._known[origin] = proxy
        return proxy


_MAX_ORIGINS = 256


def unusable_proxy(proxy: str, why: str) -> ConfigurationError:
    """The error for a proxy of the environment."""
    return ConfigurationError(
        f"the proxy {_without_credentials(proxy)!r} cannot be used: {_without_credentials(why)} "
        f"[It comes from the environment: check {_set(*PROXY_VARIABLES)}.]"
    )


def is_loopback(host: str) -> bool:
    """Return True if a host name or address stands for this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost")


def tls_context() -> ssl.SSLContext:
    """A TLS context that trusts the authorities of the system, or the authorities in SSL_CERT_FILE and SSL_CERT_DIR.

    Raises:
        ConfigurationError: the certificates that the environment names cannot be read.
    """
    file, folder = (os.environ.get(name) or None for name in CERTIFICATE_VARIABLES)
    if file or folder:
        try:
            return ssl.create_default_context(cafile=file, capath=folder)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the certificates cannot be read: {error} "
                f"[They come from the environment: check {_set(*CERTIFICATE_VARIABLES)}.]"
            ) from None
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not context.cert_store_stats()["x509_ca"] and not (paths.cafile or paths.capath):
        # A Python built elsewhere may use another path than this system's certificates.
        import certifi  # httpx brings it

        context.load_verify_locations(certifi.where())
    return context


def _can_be_proxy(proxy: str) -> bool:
    try:
        parts: SplitResult = urlsplit(proxy)
        return parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _without_credentials(url: str) -> str:
    return re.sub("//[^/@]*@", "//[credentials]@", url)


def _set(*names: str) -> str:
    """The names of the variables that are set, as text."""
    return ", ".join(name for each in names for name in (each, each.lower()) if os.environ.get(name)) or names[0]
