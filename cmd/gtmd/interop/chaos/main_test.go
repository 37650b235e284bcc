//go:build interop

package chaos

import (
	"os"
	"testing"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }
