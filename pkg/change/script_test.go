package change

import (
	"strings"
	"testing"
)

// TestScriptsAreCompiledWhenTheyArePlanned: otherwise only the log of a prober would tell of them.
func TestScriptsAreCompiledWhenTheyArePlanned(t *testing.T) {
	ch, _ := house(t)
	put := func(script string) string {
		return "kind: Monitor\ntenant: shop\nname: m\nspec:\n  type: http\n  script:\n    cel: " + script + "\n"
	}
	_, err := ch.Plan(t.Context(), Input{Put: decode(t, put("status == 200 && json.ready"))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ch.Plan(t.Context(), Input{Put: decode(t, put("state == 200"))})
	const want = "c.yaml:7: shop/Monitor/m: spec.script.cel: line 1, column 1: " +
		"undeclared reference to 'state' (did you mean 'status'?); it can speak"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
