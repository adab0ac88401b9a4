// The interop services over grpc-go, and its own health service: main [CERTIFICATE KEY]
// It prints its port and ends when stdin does. A line there sets the health of a service: SERVICE NUMBER;
// or changes it as fast as it can be changed: SERVICE flood.
// Debian's grpc-go comes without its own interop server and the code that
// is generated for it; the protobuf runtime reads these structs by their tags.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type empty struct{}

type payload struct {
	Body []byte `protobuf:"bytes,2,opt,name=body,proto3"`
}

type echoStatus struct {
	Code    int32  `protobuf:"varint,1,opt,name=code,proto3"`
	Message string `protobuf:"bytes,2,opt,name=message,proto3"`
}

type simpleRequest struct {
	ResponseSize   int32       `protobuf:"varint,2,opt,name=response_size,proto3"`
	Payload        *payload    `protobuf:"bytes,3,opt,name=payload,proto3"`
	ResponseStatus *echoStatus `protobuf:"bytes,7,opt,name=response_status,proto3"`
}

type withPayload struct {
	Payload *payload `protobuf:"bytes,1,opt,name=payload,proto3"`
}

type inputResponse struct {
	Size int32 `protobuf:"varint,1,opt,name=aggregated_payload_size,proto3"`
}

type parameters struct {
	Size int32 `protobuf:"varint,1,opt,name=size,proto3"`
}

type outputRequest struct {
	Parameters     []*parameters `protobuf:"bytes,2,rep,name=response_parameters,proto3"`
	Payload        *payload      `protobuf:"bytes,3,opt,name=payload,proto3"`
	ResponseStatus *echoStatus   `protobuf:"bytes,7,opt,name=response_status,proto3"`
}

func (m *empty) Reset()                 { *m = empty{} }
func (m *empty) String() string         { return "" }
func (*empty) ProtoMessage()            {}
func (m *payload) Reset()               { *m = payload{} }
func (m *payload) String() string       { return "" }
func (*payload) ProtoMessage()          {}
func (m *echoStatus) Reset()            { *m = echoStatus{} }
func (m *echoStatus) String() string    { return "" }
func (*echoStatus) ProtoMessage()       {}
func (m *simpleRequest) Reset()         { *m = simpleRequest{} }
func (m *simpleRequest) String() string { return "" }
func (*simpleRequest) ProtoMessage()    {}
func (m *withPayload) Reset()           { *m = withPayload{} }
func (m *withPayload) String() string   { return "" }
func (*withPayload) ProtoMessage()      {}
func (m *inputResponse) Reset()         { *m = inputResponse{} }
func (m *inputResponse) String() string { return "" }
func (*inputResponse) ProtoMessage()    {}
func (m *parameters) Reset()            { *m = parameters{} }
func (m *parameters) String() string    { return "" }
func (*parameters) ProtoMessage()       {}
func (m *outputRequest) Reset()         { *m = outputRequest{} }
func (m *outputRequest) String() string { return "" }
func (*outputRequest) ProtoMessage()    {}

const (
	initialKey  = "x-grpc-test-echo-initial"
	trailingKey = "x-grpc-test-echo-trailing-bin"
)

// What the client sent and wants back in headers and in trailers.
func echoed(ctx context.Context) (metadata.MD, metadata.MD) {
	initial, trailing := metadata.MD{}, metadata.MD{}
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get(initialKey); len(values) > 0 {
		initial.Set(initialKey, values...)
	}
	if values := md.Get(trailingKey); len(values) > 0 {
		trailing.Set(trailingKey, values...)
	}
	return initial, trailing
}

func statusOf(wanted *echoStatus) error {
	if wanted == nil || wanted.Code == 0 {
		return nil
	}
	return status.Error(codes.Code(wanted.Code), wanted.Message)
}

func of(size int32) *withPayload { return &withPayload{&payload{make([]byte, size)}} }

func emptyCall(_ interface{}, _ context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	return new(empty), decode(new(empty))
}

func unaryCall(_ interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	request := new(simpleRequest)
	if err := decode(request); err != nil {
		return nil, err
	}
	initial, trailing := echoed(ctx)
	if err := grpc.SetHeader(ctx, initial); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, trailing); err != nil {
		return nil, err
	}
	return of(request.ResponseSize), statusOf(request.ResponseStatus)
}

func answer(request *outputRequest, stream grpc.ServerStream) error {
	for _, wanted := range request.Parameters {
		if err := stream.SendMsg(of(wanted.Size)); err != nil {
			return err
		}
	}
	return statusOf(request.ResponseStatus)
}

func outputCall(_ interface{}, stream grpc.ServerStream) error {
	request := new(outputRequest)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	return answer(request, stream)
}

func inputCall(_ interface{}, stream grpc.ServerStream) error {
	total := 0
	for {
		request := new(withPayload)
		err := stream.RecvMsg(request)
		if err == io.EOF {
			return stream.SendMsg(&inputResponse{int32(total)})
		}
		if err != nil {
			return err
		}
		if request.Payload != nil {
			total += len(request.Payload.Body)
		}
	}
}

func duplexCall(_ interface{}, stream grpc.ServerStream) error {
	initial, trailing := echoed(stream.Context())
	if err := stream.SetHeader(initial); err != nil {
		return err
	}
	stream.SetTrailer(trailing)
	for {
		request := new(outputRequest)
		err := stream.RecvMsg(request)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := answer(request, stream); err != nil {
			return err
		}
	}
}

func main() {
	options := []grpc.ServerOption{}
	if len(os.Args) == 3 {
		tls, err := credentials.NewServerTLSFromFile(os.Args[1], os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(tls))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "grpc.testing.TestService",
		HandlerType: (*interface{})(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "EmptyCall", Handler: emptyCall},
			{MethodName: "UnaryCall", Handler: unaryCall},
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "StreamingOutputCall", Handler: outputCall, ServerStreams: true},
			{StreamName: "StreamingInputCall", Handler: inputCall, ClientStreams: true},
			{StreamName: "FullDuplexCall", Handler: duplexCall, ServerStreams: true, ClientStreams: true},
		},
	}, struct{}{})
	states := health.NewServer()
	healthpb.RegisterHealthServer(server, states)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(server.Serve(listener)) }()
	fmt.Printf("{\"port\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		if len(words) == 2 && words[1] == "flood" {
			go func() {
				for number := 1; ; number = 3 - number {
					states.SetServingStatus(words[0], healthpb.HealthCheckResponse_ServingStatus(number))
				}
			}()
		} else if number, err := strconv.Atoi(words[len(words)-1]); err == nil && len(words) == 2 {
			states.SetServingStatus(words[0], healthpb.HealthCheckResponse_ServingStatus(number))
		}
	}
}
