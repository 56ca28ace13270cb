"""Announces an app as python-zeroconf does, and prints a line of JSON for each runtime that comes and goes."""

import json
import socket
import sys

from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

TYPE = "_mecha._tcp.local."


def tell(**fields):
    print(json.dumps(fields), flush=True)


class Listener:
    def add_service(self, zeroconf, type_, name):
        found = zeroconf.get_service_info(TYPE, name)
        if found is None:
            return
        texts = {key.decode(): value.decode() for key, value in found.properties.items()}
        tell(came=name, addresses=found.parsed_addresses(), port=found.port, texts=texts)

    def update_service(self, zeroconf, type_, name):
        pass

    def remove_service(self, zeroconf, type_, name):
        tell(went=name)


zeroconf = Zeroconf(interfaces=["127.0.0.1"])
announced = ServiceInfo(
    "_shop._sub." + TYPE,
    "shop-zeroconf." + TYPE,
    addresses=[socket.inet_aton("127.0.0.1")],
    port=int(sys.argv[1]),
    properties={"app": "shop", "ns": "default"},
    server="shop-zeroconf.local.",
)
zeroconf.register_service(announced)
ServiceBrowser(zeroconf, TYPE, Listener())
tell(isReady=True)
sys.stdin.read()
zeroconf.close()
