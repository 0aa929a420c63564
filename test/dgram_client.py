#!/usr/bin/env python3
"""A station behind a dgram port, as QEMU's -netdev dgram: a frame in each datagram.

    dgram_client.py OWN SWITCH MAC IP

binds the socket OWN and answers ARP requests and pings to SWITCH until it is
killed."""
import socket, sys
from stream_client import answer

own, switch, mac, ip = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3].replace(":", "")), socket.inet_aton(sys.argv[4])
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(own)
while True:
    if f := answer(bytearray(s.recv(1 << 17)), mac, ip):
        s.sendto(f, switch)
