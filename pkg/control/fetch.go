package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/store"
)

// Bounds of what one edge may send. Much smaller replies than the largest are read beside each other; what is larger takes turns, and has
// no more values than a hundred thousand tenants need, since a short text such as [{},{}] can be long in memory.
const (
	maxEdgeReply   = 16 << 20 // bytes
	smallEdgeReply = 64 << 10 // bytes
	maxEdgeValues  = 1 << 20
	maxEdgeHeader  = 16 << 10 // bytes
)

// What an edge counted may be a megabyte, which a slow line needs a while for. Since gather asks few edges at a time, none of them waits
// for the turn of other replies, and none of those for them. An edge that says nothing at all is given up sooner.
const (
	demandTime      = 30 * time.Second
	demandFirstTime = 5 * time.Second
	maxDemandReply  = 2 * demand.MostBytes // in base64 they are a third more, and there are the names beside
)

// terms are by what an edge is to answer.
type terms struct {
	first  time.Duration // until the header is there
	time   time.Duration // for all of it
	silent error         // what is told if it takes longer
	most   int           // bytes
	turn   chan struct{} // of large replies; nil: they need none
}

// forDemand are the terms by which an edge tells what it counted.
var forDemand = terms{first: demandFirstTime, time: demandTime, most: maxDemandReply,
	silent: fmt.Errorf("it cannot be reached: no answer within %s, or not all of it within %s", demandFirstTime, demandTime)}

// usual are the terms for everything else.
func (s *Server) usual() *terms {
	return &terms{first: edgeTime, time: edgeTime, silent: errUnreachable, most: maxEdgeReply, turn: s.largeReply}
}

// What is told of an edge that gave no answer. It is a kind, and nothing of what was heard: the address may be anybody's.
var (
	errUnreachable = fmt.Errorf("it cannot be reached: no answer within %s", edgeTime)
	errNotThisEdge = errors.New("what answers at its address is not this edge")
	errTooMuch     = errors.New("it answers more than an edge has to say")
)

// edgeClient asks edges: straight, without proxies, redirects or anything that only others than edges need.
func edgeClient() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: edgeTime}).DialContext, DisableCompression: true,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, // nothing secret is asked, and fetch looks at the pin
			MaxResponseHeaderBytes: maxEdgeHeader, MaxIdleConns: 4 * edgesAtOnce, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
	}
}

// fetch gets JSON from an edge, by the usual terms. who is the part of out by which the answer says whose it is: another's word is not
// taken, since addresses are used again. A no of the edge itself is an *edgeRefusal.
func (s *Server) fetch(ctx context.Context, e store.Edge, path string, query url.Values, out any, who *string) error {
	return s.fetchBy(ctx, s.usual(), e, path, query, out, who)
}

func (s *Server) fetchBy(ctx context.Context, by *terms, e store.Edge, path string, query url.Values, out any, who *string) error {
	to, err := s.reach.find(e)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, by.time)
	defer cancel()
	first := time.AfterFunc(by.first, cancel)
	defer first.Stop()
	scheme := "http"
	if e.Pin != "" {
		scheme = "https"
	}
	asked := url.URL{Scheme: scheme, Host: to.String(), Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, asked.String(), nil)
	if err != nil {
		return by.silent
	}
	response, err := s.edges.Do(request)
	if err != nil {
		return by.silent
	}
	defer response.Body.Close()
	first.Stop()
	if e.Pin != "" && secure.Checked(response, e.Pin) != nil {
		return errNotThisEdge
	}
	data, done, err := by.readReply(ctx, response.Body)
	if err != nil {
		return err
	}
	defer done()
	if response.StatusCode != http.StatusOK {
		return refusalOf(e, response.StatusCode, data)
	}
	if err := json.Unmarshal(data, out); err != nil || *who != e.ID {
		return errNotThisEdge
	}
	return nil
}

// readReply reads a body. done gives back the turn of a large one, and is to be called when the data were used.
func (t *terms) readReply(ctx context.Context, body io.Reader) (data []byte, done func(), err error) {
	done = func() {}
	data, err = io.ReadAll(io.LimitReader(body, smallEdgeReply))
	if err != nil {
		return nil, done, t.silent
	}
	if len(data) < smallEdgeReply {
		return data, done, nil
	}
	if t.turn != nil {
		select {
		case t.turn <- struct{}{}:
			done = func() { <-t.turn }
		case <-ctx.Done():
			return nil, done, t.silent
		}
	}
	rest, err := io.ReadAll(io.LimitReader(body, int64(t.most-smallEdgeReply+1)))
	data = append(data, rest...)
	switch {
	case err != nil:
		err = t.silent
	case len(data) > t.most || bytes.Count(data, []byte{','}) > maxEdgeValues:
		err = errTooMuch
	default:
		return data, done, nil
	}
	done()
	return nil, func() {}, err
}

// edgeRefusal is an edge's own no.
type edgeRefusal struct {
	status int
	text   string
}

func (e *edgeRefusal) Error() string { return e.text }

// refusalOf reads an answer other than 200. It counts only if it says whose it is.
func refusalOf(e store.Edge, status int, data []byte) error {
	var said struct{ Edge, Error string }
	if json.Unmarshal(data, &said) != nil || said.Edge != e.ID || said.Error == "" {
		return errNotThisEdge
	}
	const most = 1024 // characters
	return &edgeRefusal{status: status, text: printable(said.Error, most)}
}
