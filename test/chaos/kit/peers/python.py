"""The echo service over grpcio, which is gRPC's core in C: python.py JSON, of which all fields may be left out.

It prints its port and ends when stdin does. The messages are few and plain, so they are read and written by hand and
nothing has to be generated.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

CONFIG = {"Name": "python", "Host": "127.0.0.1", "Port": 0, "DelayMillis": 0}
CONFIG.update(json.loads(sys.argv[1]))


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """The last value of each field number. The messages have integers and bytes only."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        found[key >> 3] = value
    return found


def number(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(field, body):
    return number(field << 3 | 2) + number(len(body)) + body if body else b""


CODES = {code.value[0]: code for code in grpc.StatusCode}


def obey(context, delay_millis, fail_code):
    time.sleep((delay_millis or CONFIG["DelayMillis"]) / 1000)
    if fail_code:
        context.abort(CODES[fail_code], "as asked")


def echo(request, context):
    obey(context, request.get(3, 0), request.get(4, 0))
    return text(1, request.get(1)) + text(2, request.get(2)) + text(3, CONFIG["Name"].encode())


def put(request, context):
    obey(context, request.get(2, 0), request.get(3, 0))
    return text(1, request.get(1)) + text(2, CONFIG["Name"].encode())


def main():
    options = []
    if CONFIG.get("AgeMillis"):
        options += [("grpc.max_connection_age_ms", CONFIG["AgeMillis"])]
        options += [("grpc.max_connection_age_grace_ms", CONFIG["GraceMillis"])]
    if CONFIG.get("MaxStreams"):
        options += [("grpc.max_concurrent_streams", CONFIG["MaxStreams"])]
    server = grpc.server(ThreadPoolExecutor(32), options=options)
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo, fields),
        "Put": grpc.unary_unary_rpc_method_handler(put, fields),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hawser.test.v1.Echo", handlers),))
    port = server.add_insecure_port("%s:%d" % (CONFIG["Host"], CONFIG["Port"]))
    server.start()
    print('{"port":%d}' % port, flush=True)
    sys.stdin.read()
    # Calls may be running whose client was killed: their threads would be waited for.
    os._exit(0)


main()
