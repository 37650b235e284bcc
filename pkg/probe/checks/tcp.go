package checks

import "context"

// runTCP passes once there is a connection.
func runTCP(ctx context.Context, a *attempt) error {
	_, done, err := a.dial(ctx, "tcp")
	if err == nil {
		done()
	}
	return err
}
