package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
)

// longestLine is how long one event is at most, in bytes.
const longestLine = 1 << 20

// Events reads one stream of events until it ends, which is after a quarter of an hour at the latest, and gives each to take; an error of
// that ends it, and is returned. query has tenant, pool and kind; last is the ID of the event behind which to go on, empty: what comes from
// now on. Whoever asks again with the last ID that was taken misses nothing that is kept. A stream that is silent for longer than quiet has
// broken off: servers send a sign of life every ten seconds. The HTTP client must have no Timeout, or one that is long.
func (c *Client) Events(ctx context.Context, query url.Values, last string, quiet time.Duration, take func(*api.Event) error) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(quiet, cancel)
	defer silence.Stop()
	request, err := c.request(reading, http.MethodGet, c.base.JoinPath(api.Version, "events/stream"), query, "text/event-stream", nil)
	if err != nil {
		return err
	}
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := c.cfg.HTTP.Do(request)
	if err != nil {
		return &UnreachableError{c.base, err}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return c.read(response, nil)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	for lines.Scan() {
		silence.Reset(quiet)
		data, is := strings.CutPrefix(lines.Text(), "data: ")
		if !is {
			continue
		}
		var e api.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return &ReplyError{Server: c.base, Status: response.Status, Why: Unreadable, Err: err}
		}
		if err := take(&e); err != nil {
			return err
		}
	}
	err = lines.Err()
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("nothing came for %s", quiet)
	}
	if err != nil && ctx.Err() == nil {
		return &ReplyError{Server: c.base, Status: response.Status, Why: BrokeOff, Err: err}
	}
	return ctx.Err()
}
