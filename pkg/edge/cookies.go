package edge

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/private"
)

const (
	cookieFile  = "cookie-secrets"
	cookieCheck = 2 * time.Second // how often the file is looked at
	// cookieRoll is how long this edge's own secret signs. A cookie is good for an hour, and the secret before verifies on
	// for as long again (RFC 7873, 7.1, wants weeks at most).
	cookieRoll = 24 * time.Hour
)

// cookieKeeper keeps the secrets of DNS cookies as they stand in a file: one that a set of edges shares, or else the
// edge's own, which it makes and rolls over itself.
type cookieKeeper struct {
	current atomic.Pointer[dnswire.CookieSecrets]
	failed  atomic.Bool // the file could not be used last time
	path    string      // "": nowhere to keep them
	own     bool
	now     func() time.Time
	log     *slog.Logger
	seen    []byte // what was read last
	lastErr string
}

// newCookies reads the shared file, which must be good then, or the edge's own in dir.
func newCookies(shared, dir string, now func() time.Time, log *slog.Logger) (*cookieKeeper, error) {
	k := &cookieKeeper{path: shared, own: shared == "", now: now, log: log}
	if k.own && dir != "" {
		k.path = filepath.Join(dir, cookieFile)
	}
	err := k.refresh()
	if err == nil {
		return k, nil
	}
	if !k.own {
		return nil, err
	}
	k.failed.Store(true)
	if k.current.Load() != nil { // only rolling it over failed, which is tried again
		log.Warn("the edge's cookie secret cannot be rolled over on disk; the one that is there stays", "error", err)
		k.lastErr = err.Error()
		return k, nil
	}
	log.Warn("the edge's cookie secret cannot be kept on disk: clients will have to learn a new one after a restart", "error", err)
	k.path = ""
	return k, k.refresh()
}

// run looks at the file until ctx ends. What is wrong is told once, and the secrets stay as they were.
func (k *cookieKeeper) run(ctx context.Context) {
	tick := time.NewTicker(cookieCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.check()
		}
	}
}

func (k *cookieKeeper) check() {
	if k.path == "" {
		return // what is kept in memory stays as it is
	}
	err := k.refresh()
	k.failed.Store(err != nil)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != k.lastErr && err != nil {
		k.log.Error("the cookie secrets cannot be read; those before stay", "error", err)
	}
	k.lastErr = text
}

// refresh takes the secrets from the file where it changed; its own it makes where there are none, and rolls over where
// they are old.
func (k *cookieKeeper) refresh() error {
	if k.path == "" {
		return k.use([][]byte{newSecret()})
	}
	data, err := os.ReadFile(k.path)
	switch {
	case k.own && errors.Is(err, fs.ErrNotExist):
		return k.make(nil)
	case err != nil:
		return fmt.Errorf("cookie secrets: %w", err)
	}
	info, err := os.Stat(k.path)
	if err != nil {
		return fmt.Errorf("cookie secrets: %w", err)
	}
	if err := private.Check(k.path, "the file of cookie secrets"); err != nil {
		return err
	}
	if k.current.Load() == nil || !bytes.Equal(data, k.seen) {
		err := k.take(data)
		if k.own && err != nil {
			k.log.Warn("the edge's cookie secret is replaced by a new one", "error", err)
			return k.make(nil)
		}
		if err != nil {
			return err
		}
	}
	if !k.own {
		return nil
	}
	if k.now().Sub(info.ModTime()) < cookieRoll {
		return nil
	}
	return k.make(data)
}

// take uses what stands in a file.
func (k *cookieKeeper) take(data []byte) error {
	secrets, err := parseSecrets(k.path, data)
	if err != nil {
		return err
	}
	k.seen = data
	return k.use(secrets)
}

// make writes a file with a new secret, and with the first one of the file before, and uses both.
func (k *cookieKeeper) make(before []byte) error {
	secrets := [][]byte{newSecret()}
	if before != nil {
		old, err := parseSecrets(k.path, before)
		if err != nil {
			return err
		}
		secrets = append(secrets, old[0])
	}
	data := []byte("# The secrets of this edge's DNS cookies: the first signs, all verify. It rolls them over by itself.\n")
	for _, s := range secrets {
		data = append(hex.AppendEncode(data, s), '\n')
	}
	if err := writePrivate(k.path, data); err != nil {
		return fmt.Errorf("cookie secrets: %w", err)
	}
	if err := os.Chtimes(k.path, time.Time{}, k.now()); err != nil {
		return fmt.Errorf("cookie secrets: %w", err)
	}
	k.seen = data
	return k.use(secrets)
}

// use is what answers from now on.
func (k *cookieKeeper) use(secrets [][]byte) error {
	s, err := dnswire.NewCookieSecrets(secrets...)
	if err != nil {
		return err
	}
	k.current.Store(s)
	return nil
}

func newSecret() []byte {
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return secret
}

// parseSecrets reads one or two lines of 32 hexadecimal digits; empty ones and those that begin with # are passed over.
// Its errors never repeat what stands in the file.
func parseSecrets(path string, data []byte) ([][]byte, error) {
	var secrets [][]byte
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		secret := make([]byte, hex.DecodedLen(len(line)))
		if _, err := hex.Decode(secret, line); err != nil || len(secret) != 16 {
			return nil, fmt.Errorf("%s:%d: a cookie secret must be 32 hexadecimal digits, as openssl rand -hex 16 gives them", path, i+1)
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) < 1 || len(secrets) > 2 {
		return nil, fmt.Errorf("%s: there are %d cookie secrets: give one, or two during a rollover, one a line; the first signs, both "+
			"verify", path, len(secrets))
	}
	return secrets, nil
}

// writePrivate replaces a file that only its owner may read, so that there is always a whole one.
func writePrivate(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is of no use
	}
	return err
}
