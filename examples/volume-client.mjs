import { VolumeClient } from "drystone/client";

const [socket = "/run/drystone/web1.vhost"] = process.argv.slice(2);
const volume = await VolumeClient.open(socket, { memoryBytes: 64 << 20 });
const buffer = volume.allocate(4096);
await volume.read(buffer, 8192);
console.log(`a volume of ${volume.sizeBytes} bytes, seen ${buffer.bytes[0]} times before`);
buffer.bytes[0] += 1;
await volume.write(buffer, 8192); // durable when it resolves
volume.release(buffer);
await volume.close();
