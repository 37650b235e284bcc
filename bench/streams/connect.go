package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// connectOptions are what this program is told when it asks each query by a new connection of TLS. dnsperf can do that,
// too, but sleeps between its connections, so that no server has much to do, and what wakes it costs more than the rest.
type connectOptions struct {
	load, dir, protocol string
	resume              bool // sessions that the server gave tickets for
	conns               int
	seconds             float64
}

const (
	protocolTLS  = "dot"
	protocolHTTP = "h2"
)

// loadConnections asks for so long, over as many connections at once, and reports like dnsperf. What it waits for of each
// is the answer, as a client would.
func loadConnections(ctx context.Context, o connectOptions, w io.Writer) error {
	queries, err := packQueries(o.dir)
	if err != nil {
		return err
	}
	c := &connector{options: o, queries: queries, receive: receiveTLS}
	if o.protocol == protocolHTTP {
		c.receive = receiveHTTP
		for i, framed := range queries {
			queries[i] = httpRequest(framed[2:])
		}
	}
	began := time.Now()
	until := began.Add(time.Duration(o.seconds * float64(time.Second)))
	failed := make(chan error, o.conns)
	var group sync.WaitGroup
	for range o.conns {
		group.Go(func() {
			if err := c.ask(ctx, until); err != nil {
				failed <- err
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	if resumed, all := c.resumed.Load(), c.answers.Load(); o.resume && resumed < (all-int64(o.conns))/2 {
		return fmt.Errorf("only %d of %d sessions were resumed", resumed, all)
	}
	return c.report(w, time.Since(began))
}

// connector asks by new connections.
type connector struct {
	tally
	options connectOptions
	queries [][]byte // as they are sent
	receive func(conn *tls.Conn, room []byte) (answer []byte, err error)
	resumed atomic.Int64
}

// ask asks until then, one query after the other.
func (c *connector) ask(ctx context.Context, until time.Time) error {
	// The servers' certificate was looked at before anything is measured; here the client is to have little to do.
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{c.options.protocol},
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
	if c.options.resume {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	room := make([]byte, 4096)
	for {
		began := time.Now()
		if began.After(until) || ctx.Err() != nil {
			return ctx.Err()
		}
		answer, err := c.once(ctx, config, c.queries[int(c.next.Add(1))%len(c.queries)], room)
		if err != nil {
			return err
		}
		c.count(answer, began)
	}
}

// once asks one query by a connection of its own.
func (c *connector) once(ctx context.Context, config *tls.Config, query, room []byte) (answer []byte, err error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", c.options.load)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if conn.ConnectionState().DidResume {
		c.resumed.Add(1)
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	return c.receive(conn, room)
}

// receiveTLS reads an answer by DNS over TLS.
func receiveTLS(conn *tls.Conn, room []byte) (answer []byte, err error) {
	if _, err := io.ReadFull(conn, room[:2]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(room))
	if size < 12 || size > len(room) {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	_, err = io.ReadFull(conn, room[:size])
	return room[:size], err
}

// receiveHTTP reads an answer by DNS over HTTPS.
func receiveHTTP(conn *tls.Conn, room []byte) (answer []byte, err error) {
	frames := http2.NewFramer(nil, conn)
	frames.SetReuseFrames()
	answer = room[:0]
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			if answer = append(answer, f.Data()...); f.StreamEnded() {
				return answer, nil
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return nil, fmt.Errorf("the answer is %v", frame)
		}
	}
}

// httpRequest is all that a client of HTTP/2 sends for its first request, a GET: as little as it can.
func httpRequest(query []byte) []byte {
	out := writer(http2.ClientPreface)
	var header writer
	encoder := hpack.NewEncoder(&header)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"},
		{":path", "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(query)}, {"accept", "application/dns-message"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // a writer takes everything
	}
	frames := http2.NewFramer(&out, nil)
	_ = frames.WriteSettings()
	_ = frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: header, EndStream: true, EndHeaders: true})
	return out
}

// writer keeps what is written to it.
type writer []byte

func (w *writer) Write(data []byte) (int, error) {
	*w = append(*w, data...)
	return len(data), nil
}
