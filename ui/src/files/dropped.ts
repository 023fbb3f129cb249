// What was dropped: files, and folders with everything in them.

export interface Found { directory: string[]; file: File | null }

function all(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((done, failed) => {
    const found: FileSystemEntry[] = [];
    const read = () => reader.readEntries((more) => (more.length ? (found.push(...more), read()) : done(found)), failed);
    read();
  });
}

async function walk(entry: FileSystemEntry, directory: string[], found: Found[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed));
    found.push({ directory, file });
    return;
  }
  const inside = [...directory, entry.name];
  found.push({ directory: inside, file: null });
  for (const child of await all((entry as FileSystemDirectoryEntry).createReader())) await walk(child, inside, found);
}

/** Directories come before what is in them. */
export async function dropped(data: DataTransfer): Promise<Found[]> {
  // Entries must be taken before anything is awaited: the list is emptied after the event.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((e): e is FileSystemEntry => e !== null);
  const found: Found[] = [];
  for (const entry of entries) await walk(entry, [], found);
  return found;
}
