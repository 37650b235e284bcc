package serve

import (
	"bytes"
	"testing"

	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestXDPWithoutTheInterface(t *testing.T) {
	s := start(t, Config{XDP: []string{"gtm-no-such"}}, servetest.Echo)
	client := servetest.Dial(t, "udp", s.Addrs()[0])
	msg := servetest.Query(1, "www.example.", 1)
	if got := servetest.Ask(t, client, msg); !bytes.Equal(got, servetest.Reply(msg)) {
		t.Errorf("the sockets answer %x", got)
	}
	if mode, queues, _ := s.ways[0].State(); mode != "none" || queues != 0 {
		t.Errorf("%d queues, mode %s", queues, mode)
	}
}
