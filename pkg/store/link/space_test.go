package link

import (
	"strings"
	"testing"
)

func TestSpaceIsTold(t *testing.T) {
	for _, tc := range []struct {
		s    Space
		want string
	}{
		{Space{}, ""},
		{Space{Size: 79, InUse: 10, Quota: 100}, ""},
		{Space{Size: 8 << 30, InUse: 10}, ""}, // an older etcd tells no quota
		{Space{Size: 8 << 20, InUse: 2 << 20, Quota: 10 << 20}, "etcd has used 80 % of its quota (8 MiB of 10 MiB, 2 MiB of it in use)"},
		{Space{Size: 10 << 20, InUse: 2 << 20, Quota: 10 << 20, Full: true}, "etcd is full (10 MiB of 10 MiB), and takes no writes"},
		{Space{Size: 10 << 20, Full: true}, "etcd is full (10 MiB of its quota), and takes no writes"},
	} {
		if got := tc.s.Text(); got != tc.want && (tc.want == "" || !strings.HasPrefix(got, tc.want)) {
			t.Errorf("%+v: %q, want %q", tc.s, got, tc.want)
		}
	}
}
