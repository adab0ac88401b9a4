// The echo server of the bench: raw bytes in, the same bytes out, once or a thousand times, on one processor.
// It answers each line on stdin with a line of statistics, and ends when stdin does. The line "delay N" sets the
// milliseconds that the handler takes, "fail N" the status that it ends with; 0 is OK.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
)

// Takes the place of the protobuf codec, so that no generated code is needed.
type rawCodec struct{}

func (rawCodec) Name() string                               { return "proto" }
func (rawCodec) Marshal(v interface{}) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v interface{}) error { *v.(*[]byte) = data; return nil }

// Area is the integral of running over time, so that two readings give the exact mean between them; at[n] is how long n
// were running since the last reading, which gives the median.
type stats struct {
	mutex      sync.Mutex
	moved      time.Duration
	area       float64
	at         [4096]float64
	running    int
	maxRunning int
	calls      int
	accepted   int64
}

var (
	started = time.Now()
	counts  stats
	delay   int64
	fail    int64
)

// Books the time since the last change.
func (s *stats) pass() {
	now := time.Since(started)
	millis := (now - s.moved).Seconds() * 1000
	s.moved = now
	s.area += float64(s.running) * millis
	if s.running < len(s.at) {
		s.at[s.running] += millis
	}
}

// At least so many were running half of the time since the last reading.
func (s *stats) median() int {
	total := 0.0
	for _, millis := range s.at {
		total += millis
	}
	n, below := 0, s.at[0]
	for below*2 < total && n < len(s.at)-1 {
		n++
		below += s.at[n]
	}
	s.at = [4096]float64{}
	return n
}

func (s *stats) move(by int) {
	s.mutex.Lock()
	s.pass()
	s.running += by
	if by < 0 {
		s.calls++
	} else if s.running > s.maxRunning {
		s.maxRunning = s.running
	}
	s.mutex.Unlock()
}

func (s *stats) line() []byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.pass()
	line, _ := json.Marshal(map[string]interface{}{
		"atMillis":      s.moved.Seconds() * 1000,
		"runningMillis": s.area,
		"medianRunning": s.median(),
		"running":       s.running,
		"maxRunning":    s.maxRunning,
		"calls":         s.calls,
		"accepted":      atomic.LoadInt64(&s.accepted),
	})
	return line
}

type countingListener struct{ net.Listener }

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		atomic.AddInt64(&counts.accepted, 1)
	}
	return conn, err
}

func echo(_ interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	message := new([]byte)
	if err := decode(message); err != nil {
		return nil, err
	}
	counts.move(1)
	if millis := atomic.LoadInt64(&delay); millis > 0 {
		timer := time.NewTimer(time.Duration(millis) * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	counts.move(-1)
	if code := atomic.LoadInt64(&fail); code > 0 {
		return nil, status.Error(codes.Code(code), "told to fail")
	}
	return message, nil
}

func watch(_ interface{}, stream grpc.ServerStream) error {
	message := new([]byte)
	if err := stream.RecvMsg(message); err != nil {
		return err
	}
	counts.move(1)
	defer counts.move(-1)
	for i := 0; i < 1000; i++ {
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	streams := flag.Int("streams", 0, "MAX_CONCURRENT_STREAMS; 0 is no limit")
	listeners := flag.Int("listeners", 1, "ports to listen on")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	encoding.RegisterCodec(rawCodec{})
	options := []grpc.ServerOption{}
	if *streams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(*streams)))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo",
		HandlerType: (*interface{})(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Echo", Handler: echo},
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "Watch", Handler: watch, ServerStreams: true},
		},
	}, struct{}{})
	ports := make([]int, *listeners)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal(server.Serve(countingListener{listener})) }()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	line, _ := json.Marshal(map[string]interface{}{"ports": ports})
	fmt.Printf("%s\n", line)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if millis, err := strconv.ParseInt(strings.TrimPrefix(lines.Text(), "delay "), 10, 64); err == nil {
			atomic.StoreInt64(&delay, millis)
		}
		if code, err := strconv.ParseInt(strings.TrimPrefix(lines.Text(), "fail "), 10, 64); err == nil {
			atomic.StoreInt64(&fail, code)
		}
		fmt.Printf("%s\n", counts.line())
	}
}
