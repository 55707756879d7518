"""The offline Azure: an ARM-shaped emulator (`emulator`, run by `server`) and a stand-in for the provider `azure-native`
(`plugin`, run by `main`)."""
