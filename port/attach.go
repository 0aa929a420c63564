package port

import "fmt"

// attachable tells whether the link d that has the name already is what cfg
// asks for: a persistent TAP, with the same people allowed to open it.
func (c *TAPConfig) attachable(d *netdev, target int) error {
	if !c.Persistent || !d.tap || !d.persistent || d.Ifname != c.Ifname {
		return occupied(c.Ifname, d, target)
	}
	if d.multiQueue {
		return &Error{
			Op: "open TAP", Name: c.Ifname, Why: "it is a multi-queue TAP",
			Fix: "make it anew without multi_queue", Err: ErrNotSupported,
		}
	}
	return c.checkOwner(d)
}

func (c *TAPConfig) checkOwner(d *netdev) error {
	if d.owner == c.Owner && d.group == c.Group {
		return nil
	}
	people := func(owner, group int) string {
		words := [2]string{"no owner", "no group"}
		if owner >= 0 {
			words[0] = fmt.Sprintf("owner %d", owner)
		}
		if group >= 0 {
			words[1] = fmt.Sprintf("group %d", group)
		}
		return words[0] + " and " + words[1]
	}
	e := &Error{
		Op: "open TAP", Name: c.Ifname, Err: ErrExists,
		Why: "the TAP has " + people(d.owner, d.group) + ", the configuration has " + people(c.Owner, c.Group),
		Fix: "delete the TAP with: ip link delete " + c.Ifname,
	}
	if d.owner >= 0 {
		e.Fix = "set owner and group in the configuration to the TAP's, or " + e.Fix
	}
	return e
}
