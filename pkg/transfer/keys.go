package transfer

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/private"
)

// algorithm is a TSIG algorithm (RFC 8945, 6).
type algorithm struct {
	name string // folded, absolute
	wire []byte
	hash func() hash.Hash
	size int
}

// algorithms are those that are trusted. MD5 and SHA-1 are refused (RFC 8945, 6 lets servers do so).
var algorithms = []algorithm{
	{"hmac-sha256.", []byte("\x0bhmac-sha256\x00"), sha256.New, sha256.Size},
	{"hmac-sha384.", []byte("\x0bhmac-sha384\x00"), sha512.New384, sha512.Size384},
	{"hmac-sha512.", []byte("\x0bhmac-sha512\x00"), sha512.New, sha512.Size},
}

// key is a TSIG key.
type key struct {
	name   string // folded, absolute
	wire   []byte
	alg    *algorithm
	secret []byte
}

func (k *key) mac() hash.Hash { return hmac.New(k.alg.hash, k.secret) }

// Keyring holds TSIG keys, by name. The zero value is empty and ready; it is safe for concurrent use.
type Keyring struct {
	file  string
	stamp string // of the file as it was read
	keys  atomic.Pointer[map[string]*key]
}

func (r *Keyring) get(wire []byte) *key {
	if m := r.keys.Load(); m != nil {
		return (*m)[string(wire)]
	}
	return nil
}

// named gives a key by the name that a resource calls it by.
func (r *Keyring) named(name string) *key {
	wire, err := dnswire.AppendName(nil, absolute(name))
	if err != nil {
		return nil
	}
	dnswire.FoldName(wire)
	return r.get(wire)
}

func absolute(name string) string {
	if strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}

// OpenKeys reads a file of keys in the form that BIND, NSD's and Knot's tools write and tsig-keygen prints:
//
//	key "name" { algorithm hmac-sha256; secret "base64"; };
//
// The file must not be readable by others than its owner.
func OpenKeys(file string) (*Keyring, error) {
	r := &Keyring{file: file}
	return r, r.read()
}

func (r *Keyring) read() error {
	info, err := os.Stat(r.file)
	if err != nil {
		return err
	}
	r.stamp = stampOf(info)
	if err := private.Check(r.file, "the file of TSIG keys"); err != nil {
		return err
	}
	text, err := os.ReadFile(r.file)
	if err != nil {
		return err
	}
	keys, err := parseKeys(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", r.file, err)
	}
	r.keys.Store(&keys)
	return nil
}

func stampOf(i fs.FileInfo) string {
	return fmt.Sprint(i.ModTime().UnixNano(), i.Size(), i.Mode())
}

// Watch reads the file again whenever it changed, until ctx ends. A file that cannot be used leaves the keys as they are.
func (r *Keyring) Watch(ctx context.Context, every time.Duration, onChange func(error)) {
	if r.file == "" {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if info, err := os.Stat(r.file); err != nil || stampOf(info) == r.stamp {
			continue // a file that is gone is likely about to be replaced
		}
		onChange(r.read())
	}
}

// parseKeys reads key statements. Errors name the line.
func parseKeys(text string) (map[string]*key, error) {
	keys := map[string]*key{}
	p := &keyParser{rest: text, line: 1}
	for {
		word, ok, err := p.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return keys, nil
		}
		if word != "key" {
			return nil, fmt.Errorf("line %d: %q stands where a key statement should: key \"name\" { algorithm hmac-sha256; secret "+
				"\"...\"; };", p.line, word)
		}
		line := p.line
		k, err := p.key()
		if err != nil {
			return nil, err
		}
		if keys[string(k.wire)] != nil {
			return nil, fmt.Errorf("line %d: key %s stands twice", line, k.name)
		}
		keys[string(k.wire)] = k
	}
}

// keyParser takes words, braces and semicolons from the text.
type keyParser struct {
	rest string
	line int
}

// key reads what follows the word key.
func (p *keyParser) key() (*key, error) {
	name, err := p.want("the key's name")
	if err != nil {
		return nil, err
	}
	k := &key{}
	if k.wire, err = dnswire.AppendName(nil, absolute(name)); err != nil {
		return nil, fmt.Errorf("line %d: key %q: %w", p.line, name, err)
	}
	dnswire.FoldName(k.wire)
	k.name = dnswire.NameString(k.wire)
	if err := p.literal("{"); err != nil {
		return nil, err
	}
	for {
		word, err := p.want("algorithm, secret or }")
		if err != nil {
			return nil, err
		}
		if word == "}" {
			break
		}
		value, err := p.want("a value")
		if err != nil {
			return nil, err
		}
		if err := k.set(word, value); err != nil {
			return nil, fmt.Errorf("line %d: key %s: %w", p.line, k.name, err)
		}
		if err := p.literal(";"); err != nil {
			return nil, err
		}
	}
	if k.alg == nil || k.secret == nil {
		return nil, fmt.Errorf("line %d: key %s needs an algorithm and a secret", p.line, k.name)
	}
	return k, p.literal(";")
}

// set takes a part of a key statement. Messages never hold the secret.
func (k *key) set(part, value string) error {
	switch part {
	case "algorithm":
		for i := range algorithms {
			if absolute(strings.ToLower(value)) == algorithms[i].name {
				k.alg = &algorithms[i]
				return nil
			}
		}
		return fmt.Errorf("algorithm %q is not taken: use hmac-sha256, hmac-sha384 or hmac-sha512", value)
	case "secret":
		secret, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return fmt.Errorf("the secret is not base64")
		}
		if len(secret) < 16 {
			return fmt.Errorf("the secret has %d bytes; take 32: openssl rand -base64 32", len(secret))
		}
		k.secret = secret
		return nil
	}
	return fmt.Errorf("%q is neither algorithm nor secret", part)
}

func (p *keyParser) want(what string) (string, error) {
	word, ok, err := p.next()
	if err == nil && !ok {
		err = fmt.Errorf("line %d: the file ends where %s should stand", p.line, what)
	}
	return word, err
}

func (p *keyParser) literal(text string) error {
	word, err := p.want(text)
	if err == nil && word != text {
		err = fmt.Errorf("line %d: %s is missing", p.line, text)
	}
	return err
}

// next gives the next word, without its quotes, or brace or semicolon. ok is false at the end.
func (p *keyParser) next() (word string, ok bool, err error) {
	if err := p.space(); err != nil {
		return "", false, err
	}
	if p.rest == "" {
		return "", false, nil
	}
	end := strings.IndexAny(p.rest, " \t\r\n{};\"#")
	switch c := p.rest[0]; {
	case c == '"':
		if end = strings.IndexAny(p.rest[1:], "\"\n"); end < 0 || p.rest[1+end] == '\n' {
			return "", false, fmt.Errorf("line %d: a quote is not closed", p.line)
		}
		word, p.rest = p.rest[1:1+end], p.rest[2+end:]
		return word, true, nil
	case end == 0:
		end = 1
	case end < 0:
		end = len(p.rest)
	}
	word, p.rest = p.rest[:end], p.rest[end:]
	return word, true, nil
}

// space skips white space and comments: //, # and /* */.
func (p *keyParser) space() error {
	for p.rest != "" {
		skip := 1
		switch {
		case bytes.IndexByte([]byte(" \t\r\n"), p.rest[0]) >= 0:
		case p.rest[0] == '#' || strings.HasPrefix(p.rest, "//"):
			if skip = strings.IndexByte(p.rest, '\n'); skip < 0 {
				skip = len(p.rest)
			}
		case strings.HasPrefix(p.rest, "/*"):
			end := strings.Index(p.rest[2:], "*/")
			if end < 0 {
				return fmt.Errorf("line %d: a comment is not closed", p.line)
			}
			skip = end + 4
		default:
			return nil
		}
		p.line += strings.Count(p.rest[:skip], "\n")
		p.rest = p.rest[skip:]
	}
	return nil
}
