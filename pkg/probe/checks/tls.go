package checks

import "context"

// runTLS passes once there is a handshake and the certificate is as wanted.
func runTLS(ctx context.Context, a *attempt) error {
	conn, done, err := a.dial(ctx, "tcp")
	if err != nil {
		return err
	}
	defer done()
	_, err = a.secure(ctx, conn)
	return err
}
