package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sync/errgroup"
)

// connectOptions are what this program is told when it asks one query at a time in each connection of TLS. dnsperf can do
// that, too. But it sleeps between its connections, so that no server has much to do, and what wakes it costs more than the
// rest. And where the answers to all its queries come while its sender has not gone to sleep yet, it sleeps for 100 ms with
// nothing on its way: the sooner a server answers, the more often.
type connectOptions struct {
	load, dir, protocol string
	resume              bool // sessions that the server gave tickets for
	keep                bool // each connection for all its queries, rather than for one
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
	c := &connector{options: o, queries: queries, speak: speakTLS}
	if o.protocol == protocolHTTP {
		c.speak = speakHTTP
		for i, framed := range queries {
			queries[i] = []byte("/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(framed[2:]))
		}
	}
	began := time.Now()
	until := began.Add(time.Duration(o.seconds * float64(time.Second)))
	var group errgroup.Group
	for range o.conns {
		group.Go(func() error { return c.ask(ctx, until) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if resumed, all := c.resumed.Load(), c.answers.Load(); o.resume && resumed < (all-int64(o.conns))/2 {
		return fmt.Errorf("only %d of %d sessions were resumed", resumed, all)
	}
	return c.report(w, time.Since(began))
}

// connector asks by connections.
type connector struct {
	tally
	options connectOptions
	queries [][]byte // as speak wants them
	speak   func(conn *tls.Conn) asking
	resumed atomic.Int64
}

// asking asks one query in a connection, and gives the answer, which holds until room is used again.
type asking func(query, room []byte) (answer []byte, err error)

// ask asks until then, one query after the other.
func (c *connector) ask(ctx context.Context, until time.Time) error {
	// The servers' certificate was looked at before anything is measured; here the client is to have little to do.
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{c.options.protocol},
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
	if c.options.resume {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	room := make([]byte, 4096)
	for time.Now().Before(until) {
		if err := c.connected(ctx, config, until, room); err != nil {
			return err
		}
	}
	return nil
}

// connected asks in a connection of its own: one query, or as many as there is time for.
func (c *connector) connected(ctx context.Context, config *tls.Config, until time.Time, room []byte) error {
	began := time.Now() // what connecting takes is waited for, too
	conn, err := c.dial(ctx, config, until)
	if err != nil {
		return err
	}
	defer conn.Close()
	for ask := c.speak(conn); ; {
		answer, err := ask(c.queries[int(c.next.Add(1))%len(c.queries)], room)
		if err != nil {
			return err
		}
		c.count(answer, began)
		if began = time.Now(); !c.options.keep || began.After(until) || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// dial makes a connection, which ends some seconds after until.
func (c *connector) dial(ctx context.Context, config *tls.Config, until time.Time) (*tls.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", c.options.load)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err = conn.SetDeadline(until.Add(5 * time.Second)); err == nil {
		err = conn.HandshakeContext(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	if conn.ConnectionState().DidResume {
		c.resumed.Add(1)
	}
	return conn, nil
}

// speakTLS asks framed queries by DNS over TLS.
func speakTLS(conn *tls.Conn) asking {
	return func(query, room []byte) (answer []byte, err error) {
		if _, err := conn.Write(query); err != nil {
			return nil, err
		}
		return receiveTLS(conn, room)
	}
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

// webClient asks by DNS over HTTPS, a GET for each query, and sends as little as a client can.
type webClient struct {
	conn    *tls.Conn
	out     writer // what is sent next
	header  writer
	encoder *hpack.Encoder
	frames  *http2.Framer // to out, and of conn
	stream  uint32        // of the last query
}

// allOfIt is room for whatever a server sends in a connection.
const allOfIt = 1 << 30

// speakHTTP asks for paths with queries by DNS over HTTPS.
func speakHTTP(conn *tls.Conn) asking {
	c := &webClient{conn: conn, out: writer(http2.ClientPreface)}
	c.encoder = hpack.NewEncoder(&c.header)
	c.frames = http2.NewFramer(&c.out, conn)
	c.frames.SetReuseFrames()
	_ = c.frames.WriteSettings() // a writer takes everything; here and below
	_ = c.frames.WriteWindowUpdate(0, allOfIt)
	return c.ask
}

func (c *webClient) ask(path, room []byte) (answer []byte, err error) {
	c.header = c.header[:0]
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", string(path)},
		{"accept", "application/dns-message"}} {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	c.stream = (c.stream + 1) | 1 // a client's are odd
	_ = c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.header, EndStream: true, EndHeaders: true})
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	c.out = c.out[:0]
	return c.receive(room)
}

// receive reads an answer. What the server says of itself meanwhile is acknowledged with the next query.
func (c *webClient) receive(room []byte) (answer []byte, err error) {
	answer = room[:0]
	for {
		frame, err := c.frames.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			if answer = append(answer, f.Data()...); f.StreamEnded() {
				return answer, nil
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.frames.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = c.frames.WritePing(true, f.Data)
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return nil, fmt.Errorf("the answer is %v", frame)
		}
	}
}

// writer keeps what is written to it.
type writer []byte

func (w *writer) Write(data []byte) (int, error) {
	*w = append(*w, data...)
	return len(data), nil
}
