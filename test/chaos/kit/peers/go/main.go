// The echo service over grpc-go, for what Node's servers do differently: connection age, stream limits, ping policing.
// main JSON, of which all fields may be left out. It prints its port and ends when stdin does. Debian's grpc-go comes without
// generated code for our service; the protobuf runtime reads these structs by their tags.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/ioutil"
	"log"
	"math"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

type config struct {
	Name        string
	Host        string
	Port        int
	DelayMillis int
	// 0: no limit.
	MaxStreams uint32
	// 0: for ever.
	AgeMillis   int
	GraceMillis int
	// How often clients may ping; 0: grpc-go's default of 5 minutes.
	MinPingMillis int
}

type echoRequest struct {
	Id          string `protobuf:"bytes,1,opt,name=id,proto3"`
	Payload     []byte `protobuf:"bytes,2,opt,name=payload,proto3"`
	DelayMillis uint32 `protobuf:"varint,3,opt,name=delay_millis,proto3"`
	FailCode    uint32 `protobuf:"varint,4,opt,name=fail_code,proto3"`
}

type echoReply struct {
	Id      string `protobuf:"bytes,1,opt,name=id,proto3"`
	Payload []byte `protobuf:"bytes,2,opt,name=payload,proto3"`
	Server  string `protobuf:"bytes,3,opt,name=server,proto3"`
}

type putRequest struct {
	Id          string `protobuf:"bytes,1,opt,name=id,proto3"`
	DelayMillis uint32 `protobuf:"varint,2,opt,name=delay_millis,proto3"`
	FailCode    uint32 `protobuf:"varint,3,opt,name=fail_code,proto3"`
}

type putReply struct {
	Id     string `protobuf:"bytes,1,opt,name=id,proto3"`
	Server string `protobuf:"bytes,2,opt,name=server,proto3"`
}

func (m *echoRequest) Reset()         { *m = echoRequest{} }
func (m *echoRequest) String() string { return "" }
func (*echoRequest) ProtoMessage()    {}
func (m *echoReply) Reset()           { *m = echoReply{} }
func (m *echoReply) String() string   { return "" }
func (*echoReply) ProtoMessage()      {}
func (m *putRequest) Reset()          { *m = putRequest{} }
func (m *putRequest) String() string  { return "" }
func (*putRequest) ProtoMessage()     {}
func (m *putReply) Reset()            { *m = putReply{} }
func (m *putReply) String() string    { return "" }
func (*putReply) ProtoMessage()       {}

var settings config

func obey(delayMillis, failCode uint32) error {
	millis := int(delayMillis)
	if millis == 0 {
		millis = settings.DelayMillis
	}
	time.Sleep(time.Duration(millis) * time.Millisecond)
	if failCode == 0 {
		return nil
	}
	return status.Error(codes.Code(failCode), "as asked")
}

func echo(_ interface{}, _ context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	request := new(echoRequest)
	if err := decode(request); err != nil {
		return nil, err
	}
	return &echoReply{request.Id, request.Payload, settings.Name}, obey(request.DelayMillis, request.FailCode)
}

func put(_ interface{}, _ context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	request := new(putRequest)
	if err := decode(request); err != nil {
		return nil, err
	}
	return &putReply{request.Id, settings.Name}, obey(request.DelayMillis, request.FailCode)
}

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func main() {
	settings = config{Name: "go", Host: "127.0.0.1"}
	if err := json.Unmarshal([]byte(os.Args[1]), &settings); err != nil {
		log.Fatal(err)
	}
	age, grace := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	if settings.AgeMillis > 0 {
		age, grace = millis(settings.AgeMillis), millis(settings.GraceMillis)
	}
	options := []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: age, MaxConnectionAgeGrace: grace}),
	}
	if settings.MaxStreams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(settings.MaxStreams))
	}
	if settings.MinPingMillis > 0 {
		options = append(options, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: millis(settings.MinPingMillis)}))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "hawser.test.v1.Echo",
		HandlerType: (*interface{})(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Echo", Handler: echo},
			{MethodName: "Put", Handler: put},
		},
	}, struct{}{})
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", settings.Host, settings.Port))
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(server.Serve(listener)) }()
	fmt.Printf("{\"port\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	_, _ = io.Copy(ioutil.Discard, os.Stdin)
}
