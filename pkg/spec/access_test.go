package spec

import (
	"strings"
	"testing"
)

func TestAccessIsChecked(t *testing.T) {
	for _, c := range []struct {
		yaml, says string
	}{
		{"role: viewer\n  subjects: ['group:shop team', 'user:alice@example.org', 'token:ci', 'token:pay/ci', " +
			"'spiffe://example.org/a', 'cert:CN=a,O=B']", ""},
		{"role: king\n  subjects: ['user:a']", `spec.role: "king" is not possible`},
		{"subjects: ['user:a']", "spec.role: is missing"},
		{"role: viewer", "spec.subjects: is empty"},
		{"role: viewer\n  subjects: [alice]", `"alice" is not a subject`},
		{"role: viewer\n  subjects: ['user:']", `"user:" names nobody`},
		{"role: viewer\n  subjects: ['user: a']", "names nobody"},
		{"role: viewer\n  subjects: ['token:A']", `has the letter 'A'`},
		{"role: viewer\n  subjects: ['token:a/b/c']", `has the letter '/'`},
		{"role: viewer\n  subjects: ['spiffe://']", "is not a SPIFFE ID"},
		{"role: viewer\n  subjects: ['spiffe://a/b?c']", "is not a SPIFFE ID"},
		{"role: viewer\n  subjects: ['user:a', 'user:a']", "stands twice"},
		{"role: viewer\n  subjects: [\"user:a\\u202e\"]", "letters that cannot be seen"},
		{"role: viewer\n  subjects: ['user:" + strings.Repeat("a", 600) + "']", "can have at most 512"},
		{"role: viewer\n  subject: x", "unknown field"},
	} {
		all, err := Decode("a.yaml", []byte("kind: Access\ntenant: shop\nname: a\nspec:\n  "+c.yaml+"\n"))
		if err == nil {
			err = Validate(all[0])
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.yaml, err, c.says)
		}
	}
	if got := SubjectIn("shop", "token:ci") + " " + SubjectIn("shop", "token:pay/ci") + " " + SubjectIn("shop",
		"user:ci"); got != "token:shop/ci token:pay/ci user:ci" {
		t.Error(got)
	}
}
