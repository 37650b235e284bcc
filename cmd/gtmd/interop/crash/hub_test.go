//go:build interop

package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
	"github.com/gti/gtm/pkg/client"
	"github.com/gti/gtm/pkg/gtmtest"
)

// hub is a control whose failpoints can be set.
type hub struct {
	*process.Process
	w          *world
	http, fail netip.AddrPort
}

// startHub starts a control. terms say what its failpoints do, by name.
func (w *world) startHub(terms map[string]string) *hub {
	w.t.Helper()
	h := &hub{w: w, http: gtmtest.FreePort(w.t), fail: gtmtest.FreePort(w.t)}
	points := []string{sweepSoon + "=return"}
	for _, name := range slices.Sorted(maps.Keys(terms)) {
		points = append(points, name+"="+terms[name])
	}
	h.Process = w.start("hub", []string{"GOFAIL_HTTP=" + h.fail.String(), "GOFAIL_FAILPOINTS=" + strings.Join(points, ";")},
		"--roles", "control", "--http", h.http.String())
	return h
}

// sweepSoon is no step: it has zone content that nothing refers to swept after a second, rather than an hour.
const sweepSoon = "sweepSoon"

// count is how often a failpoint was passed, or stopped at.
func (h *hub) count(failpoint string) (int, error) {
	body, err := page("http://" + h.fail.String() + "/" + failpoint + "/count")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(body))
}

// failpoints lists them.
func (h *hub) failpoints() (names []string, err error) {
	body, err := page("http://" + h.fail.String() + "/")
	for line := range strings.Lines(body) {
		name, _, _ := strings.Cut(line, "=")
		if name != sweepSoon {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names, err
}

// ready waits until the hub can work. Until then hit may have it give up.
func (h *hub) ready(hit func() bool) (is bool) {
	h.w.t.Helper()
	h.w.eventually("control is ready", func() error {
		if hit() {
			return nil
		}
		_, err := page("http://" + h.http.String() + "/readyz")
		is = err == nil
		return err
	})
	return is
}

// client is of the admin of the machine.
func (h *hub) client() *client.Client {
	h.w.t.Helper()
	token, err := os.ReadFile(filepath.Join(h.w.dir, "hub", "token"))
	if err != nil {
		h.w.t.Fatal(err)
	}
	c, err := client.New(client.Config{Server: "http://" + h.http.String(), Token: strings.TrimSpace(string(token))})
	if err != nil {
		h.w.t.Fatal(err)
	}
	return c
}

// page fetches a small page.
func page(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", url, response.Status, body)
	}
	return string(body), err
}

var errNotYet = errors.New("not yet")
