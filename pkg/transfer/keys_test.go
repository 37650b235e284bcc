package transfer

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var testSecret = base64.StdEncoding.EncodeToString([]byte("a secret of thirty-two bytes....."))

func TestParseKeys(t *testing.T) {
	text := `# made by tsig-keygen
key "One.Example" { algorithm hmac-sha256; secret "` + testSecret + `"; }; // a comment
/* two
   lines */ key two { secret ` + testSecret + `; algorithm HMAC-SHA512.; };
`
	keys, err := parseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	one, two := keys["\x03one\x07example\x00"], keys["\x03two\x00"]
	if len(keys) != 2 || one == nil || two == nil {
		t.Fatalf("keys: %v", keys)
	}
	if one.name != "one.example." || one.alg.name != "hmac-sha256." || two.alg.name != "hmac-sha512." ||
		base64.StdEncoding.EncodeToString(one.secret) != testSecret {
		t.Errorf("read %+v and %+v", one, two)
	}
}

func TestParseKeysRefuses(t *testing.T) {
	good := `algorithm hmac-sha256; secret "` + testSecret + `";`
	for _, c := range []struct{ text, want string }{
		{"zone x { };", "line 1"},
		{"\nkey", "line 2: the file ends where the key's name"},
		{"key a { " + good + " }", "ends where ;"},
		{"key a { " + good + " }; key A. { " + good + " };", "stands twice"},
		{"key a { algorithm hmac-md5.sig-alg.reg.int; secret \"" + testSecret + "\"; };", "is not taken"},
		{"key a { algorithm hmac-sha1; secret \"" + testSecret + "\"; };", "is not taken"},
		{"key a { algorithm hmac-sha256; };", "needs an algorithm and a secret"},
		{"key a { algorithm hmac-sha256; secret \"%%\"; };", "is not base64"},
		{"key a { algorithm hmac-sha256; secret \"YWJj\"; };", "has 3 bytes"},
		{"key a { algorithm hmac-sha256 secret x; };", "; is missing"},
		{"key \"a { }", "a quote is not closed"},
		{"key a { } ; /* ", "needs an algorithm"},
		{"/* ", "a comment is not closed"},
		{"key a..b { " + good + " };", "a..b"},
	} {
		keys, err := parseKeys(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("parseKeys(%q) = %v, %v; want an error with %q", c.text, keys, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), testSecret) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

func TestKeysAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	one := `key one { algorithm hmac-sha256; secret "` + testSecret + `"; };`
	write(one, 0o644)
	if _, err := OpenKeys(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that all may read: %v", err)
	}
	write(one, 0o600)
	r, err := OpenKeys(file)
	if err != nil || r.named("ONE") == nil || r.named("two") != nil {
		t.Fatalf("keys: %v, %v", r.keys.Load(), err)
	}
	write("garbage", 0o600)
	if err := r.read(); err == nil || r.named("one") == nil {
		t.Errorf("a file that cannot be read took the keys away, or gave no error: %v", err)
	}
	write(strings.Replace(one, "one", "two", 1), 0o600)
	if err := r.read(); err != nil || r.named("one") != nil || r.named("two") == nil {
		t.Errorf("the new file does not hold: %v", err)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add(`key "a" { algorithm hmac-sha256; secret "` + testSecret + `"; };`)
	f.Add("key a { /* */ # x\n secret b; };")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeys(text)
		for wire, k := range keys {
			if err != nil || wire != string(k.wire) || k.alg == nil || len(k.secret) < 16 {
				t.Errorf("a key that is not whole: %+v", k)
			}
		}
	})
}
