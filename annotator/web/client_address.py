"""The address of a client, also behind reverse proxies that the app was told to trust."""

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

from regions.errors import InvalidError

_IPV6_PREFIX = 64
"""Leading bits that one customer of a provider gets; the others are theirs to choose."""


def client_address(request: Request) -> str:
    """The address that sign-in attempts are counted for; of IPv6 addresses, the network.

    `request.client` is the peer of the connection. If that is a trusted proxy, uvicorn's
    `ProxyHeadersMiddleware` has set it to the last untrusted address of X-Forwarded-For.

    >>> client_address(Request({"type": "http", "client": ("2001:db8::1", 80)}))
    '2001:db8::/64'
    >>> client_address(Request({"type": "http", "client": ("::ffff:192.0.2.1", 80)}))
    '192.0.2.1'
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a socket of the file system
        return host[:400]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))


def check_proxies(proxies: Sequence[str]) -> list[str]:
    """Addresses and networks of proxies to trust; InvalidError for one that is neither.

    >>> check_proxies(["10.0.0.7", "192.168.0.0/16"])
    ['10.0.0.7/32', '192.168.0.0/16']
    """
    networks = []
    for proxy in proxies:
        try:
            networks.append(str(ipaddress.ip_network(proxy)))
        except ValueError as error:
            raise InvalidError(
                f"not the address or network of a proxy: {proxy[:100]!r}",
                hint="use one such as 10.0.0.7 or 10.0.0.0/8",
            ) from error
    return networks
