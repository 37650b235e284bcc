package stream

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// TestMessagesUnderWayAreBounded lets one client have many slow messages by HTTP/2, until it may have no more.
func TestMessagesUnderWayAreBounded(t *testing.T) {
	s := startRig(t, Limits{MaxConnsPerClient: 2, MessageTimeout: time.Hour}, servetest.Echo)
	client, other := servetest.WebClients(t, s)["HTTP/2.0"], servetest.DialQUIC(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	const most = 2 * 4 // for each of the connections that it may have
	ended := make(chan error, most)
	if _, err := servetest.Post(client, servetest.WebURL(s), servetest.Query(0, "a.",
		1)); err != nil { // from here on, there is one connection
		t.Fatal(err)
	}
	for range most {
		r, err := http.NewRequestWithContext(ctx, "POST", servetest.WebURL(s), &servetest.Drip{Release: ctx.Done()})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", webType)
		go func() {
			got, err := client.Do(r)
			if err == nil {
				got.Body.Close()
			}
			ended <- err
		}()
	}
	under := s.Conns.UnderWay
	servetest.Eventually(t, "all are under way", func() bool { return under() == most })
	if _, err := servetest.Post(client, servetest.WebURL(s), servetest.Query(0, "a.", 1)); err == nil || !strings.Contains(err.Error(),
		"429") {
		t.Errorf("one more: %v", err)
	}
	if got, err := servetest.ExchangeQUIC(t, other, servetest.Frame(servetest.Query(0, "a.", 1))); err == nil {
		t.Errorf("one more, by QUIC: %x", got)
	}
	if n := s.Conns.Stats()[seam.HTTPS].Overload + s.Conns.Stats()[seam.QUIC].Overload; n != 2 {
		t.Errorf("%v refused", n)
	}
	cancel()
	for range most {
		if err := <-ended; err == nil {
			t.Error("a message that never ended got an answer")
		}
	}
	servetest.Eventually(t, "none is under way", func() bool { return under() == 0 })
	if _, err := servetest.ExchangeQUIC(t, other, servetest.Frame(servetest.Query(0, "a.", 1))); err != nil {
		t.Error(err)
	}
}
