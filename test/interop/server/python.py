"""The interop services over grpcio, which is gRPC's core in C: python.py [CERTIFICATE KEY]

It prints its port and ends when stdin does. The messages are few and plain, so they are read and written by hand and
nothing has to be generated.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


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
    """All values of each field number. The messages have integers and bytes only."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        elif key & 7 != 0:
            raise ValueError("wire type %d" % (key & 7))
        found.setdefault(key >> 3, []).append(value)
    return found


def number(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(field, body):
    return number(field << 3 | 2) + number(len(body)) + body


def one(request, field, default):
    return request.get(field, [default])[-1]


def with_payload(size):
    return message(1, message(2, bytes(size)))


CODES = {code.value[0]: code for code in grpc.StatusCode}


def echo(request, context):
    """Answers with the status that is asked for."""
    if 7 in request:
        status = fields(request[7][-1])
        context.abort(CODES[one(status, 1, 0)], one(status, 2, b"").decode())


def echo_metadata(context):
    for key, value in context.invocation_metadata():
        if key == "x-grpc-test-echo-initial":
            context.send_initial_metadata([(key, value)])
        if key == "x-grpc-test-echo-trailing-bin":
            context.set_trailing_metadata([(key, value)])


def empty_call(_request, _context):
    return b""


def unary_call(request, context):
    echo_metadata(context)
    echo(request, context)
    return with_payload(one(request, 2, 0))


def outputs(request):
    return [with_payload(one(fields(asked), 1, 0)) for asked in request.get(2, [])]


def streaming_output_call(request, _context):
    yield from outputs(request)


def streaming_input_call(requests, _context):
    total = sum(len(one(fields(one(request, 1, b"")), 2, b"")) for request in requests)
    return number(1 << 3) + number(total)


def full_duplex_call(requests, context):
    echo_metadata(context)
    for request in requests:
        echo(request, context)
        yield from outputs(request)


def main(files):
    server = grpc.server(ThreadPoolExecutor(16))
    handlers = {
        "EmptyCall": grpc.unary_unary_rpc_method_handler(empty_call, fields),
        "UnaryCall": grpc.unary_unary_rpc_method_handler(unary_call, fields),
        "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(streaming_output_call, fields),
        "StreamingInputCall": grpc.stream_unary_rpc_method_handler(streaming_input_call, fields),
        "FullDuplexCall": grpc.stream_stream_rpc_method_handler(full_duplex_call, fields),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.testing.TestService", handlers),))
    if files:
        certificate, key = (open(path, "rb").read() for path in files)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print('{"port":%d}' % port, flush=True)
    sys.stdin.read()
    # Calls may be running whose client was killed: their threads would be waited for.
    os._exit(0)


main(sys.argv[1:])
