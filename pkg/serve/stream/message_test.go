package stream

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/gti/gtm/pkg/serve/servetest"
)

// TestLargeMessagesAreBounded takes all permits to read one, and finds that small ones still pass.
func TestLargeMessagesAreBounded(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	for range maxBigMessages {
		s.bigMessages <- struct{}{}
	}
	small := servetest.Query(0, "a.", 1)
	large := append(small, make([]byte, smallMessage)...)
	conn := servetest.DialQUIC(t, s)
	for version, client := range servetest.WebClients(t, s) {
		if _, err := servetest.Post(client, servetest.WebURL(s), large); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("%s: %v", version, err)
		}
		if _, err := servetest.Post(client, servetest.WebURL(s), small); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	var fault *quic.StreamError
	if _, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(large)); !errors.As(err, &fault) || fault.ErrorCode != doqExcessiveLoad {
		t.Errorf("QUIC: %v", err)
	}
	if _, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(small)); err != nil {
		t.Errorf("QUIC: %v", err)
	}
	<-s.bigMessages // one is free, and free again afterwards
	for range 3 {
		if got, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(large)); err != nil || !bytes.Equal(got,
			servetest.Frame(servetest.Reply(large))) {
			t.Errorf("QUIC: %d bytes, %v", len(got), err)
		}
	}
}
